"""Train and validation: nothing lost, nothing shared, neither side empty, the same on every run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from lm.common.errors import UserError
from lm.data.readers import Documents, open_documents
from lm.data.readers.tokens import open_token_documents
from lm.data.split import split


def corpus(folder: Path, ids: range) -> Documents:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in ids))
    return open_documents(str(path))


def texts(documents: Documents) -> list[str]:
    return [document.text for document in documents]


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("count", [2, 3, 10, 200])
@pytest.mark.parametrize("seed", range(5))
def test_every_document_is_on_exactly_one_side_and_neither_is_empty(tmp_path, fraction, count, seed):
    documents = corpus(tmp_path, range(count))
    train, validation = split(documents, fraction, seed)
    assert texts(train)
    assert texts(validation)
    everything = list(documents)
    kept = {document.id for document in train}
    assert list(train) == [document for document in everything if document.id in kept]
    assert list(validation) == [document for document in everything if document.id not in kept]


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5])
def test_about_the_fraction_of_documents_is_held_out(tmp_path, fraction):
    count = 5000
    _, validation = split(corpus(tmp_path, range(count)), fraction, seed=0)
    spread = (count * fraction * (1 - fraction)) ** 0.5
    assert abs(len(texts(validation)) - count * fraction) < 4 * spread


def test_a_document_stays_on_its_side_when_others_come(tmp_path):
    before = {document.id for document in split(corpus(tmp_path, range(1000)), 0.1, 0)[1]}
    after = {document.id for document in split(corpus(tmp_path, range(2000)), 0.1, 0)[1]}
    assert before == {id for id in after if int(id.split(":")[1]) <= 1000}


def test_another_seed_is_another_split(tmp_path):
    documents = corpus(tmp_path, range(200))
    assert texts(split(documents, 0.2, 0)[1]) != texts(split(documents, 0.2, 1)[1])


def test_the_split_is_the_same_on_every_machine(tmp_path):
    """A change here moves documents between the sides of existing runs: update it only with the hash itself."""
    _, validation = split(corpus(tmp_path, range(100)), 0.05, seed=0)
    assert [document.id for document in validation] == [
        "a.jsonl:18",
        "a.jsonl:22",
        "a.jsonl:30",
        "a.jsonl:59",
        "a.jsonl:100",
    ]


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 900), (0.25, 750), (0.999, 1)])
def test_the_end_of_a_single_text_is_held_out(tmp_path, fraction, expected):
    text = "".join(chr(0x4E00 + n) for n in range(1000))
    (tmp_path / "a.txt").write_bytes(text.encode())
    train, validation = split(open_documents(str(tmp_path / "a.txt")), fraction, seed=0)
    assert [(d.id, d.text) for d in train] == [(f"a.txt[:{expected}]", text[:expected])]
    assert [(d.id, d.text) for d in validation] == [(f"a.txt[{expected}:]", text[expected:])]


def test_the_end_of_a_single_token_file_is_held_out(tmp_path):
    np.arange(100, dtype="<u2").tofile(tmp_path / "a.bin")
    train, validation = split(open_token_documents(str(tmp_path / "a.bin"), format="nanogpt"), 0.1, seed=0)
    assert [d.tokens.tolist() for d in train] == [list(range(90))]
    assert [d.tokens.tolist() for d in validation] == [list(range(90, 100))]


def test_fraction_zero_holds_nothing_out(tmp_path):
    documents = corpus(tmp_path, range(3))
    train, validation = split(documents, 0, seed=0)
    assert texts(train) == texts(documents)
    assert texts(validation) == []
    assert (train.size_bytes(), validation.size_bytes()) == (documents.size_bytes(), 0)


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_a_fraction_that_cannot_be_is_an_error(tmp_path, fraction):
    with pytest.raises(UserError, match=f"validation fraction={fraction}"):
        split(corpus(tmp_path, range(3)), fraction, seed=0)


@pytest.mark.parametrize(("length", "fraction"), [(1, 0.01), (1, 0.5), (50, 0.99)])
def test_a_text_too_short_for_two_sides_is_an_error(tmp_path, length, fraction):
    (tmp_path / "a.txt").write_text("x" * length)
    with pytest.raises(UserError, match=rf"a\.txt: its one document of length {length} cannot be split"):
        split(open_documents(str(tmp_path / "a.txt")), fraction, seed=0)


@pytest.mark.parametrize("single", [True, False])
def test_the_sides_have_fingerprints_of_their_own_that_follow_the_source(tmp_path, single):
    def sides(count: int) -> list[str]:
        return [part.fingerprint() for part in split(corpus(tmp_path, range(count)), 0.25, 0)]

    first = sides(1 if single else 20)
    assert len(set(first)) == 2
    assert not set(first) & set(sides(21))


@pytest.mark.parametrize("count", [1, 50])
def test_the_sides_say_what_they_are_and_can_be_sent_to_another_process(tmp_path, count):
    documents = corpus(tmp_path, range(count))
    for part, word in zip(split(documents, 0.4, 0), ("train", "validation"), strict=True):
        assert part.name == documents.name
        assert word in part.describe()
        assert 0 < part.size_bytes() < documents.size_bytes()
        assert list(pickle.loads(pickle.dumps(part))) == list(part)
