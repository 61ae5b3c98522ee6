"""Common lines against a slow count, whatever the units and the order."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import numpy as np
import pytest

from lm.data.curate.dedup import DropCommon, Lines, common_lines
from lm.data.curate.dedup import lines as module
from lm.data.curate.document import Document

MENU, NOTICE = "Home | About us | Contact", "All rights reserved by the owner."


def texts(seed: int, count: int, between: str) -> list[str]:
    rng = random.Random(seed)
    pool = [MENU, NOTICE, "", "}", "so it was", *(f"line number {n} of some" for n in range(40))]
    return [between.join(rng.choices(pool, k=rng.randint(0, 12))) for _ in range(count)]


def slowly_cleaned(documents: list[str], between: str, max_documents: int, min_words: int) -> list[str]:
    counts = Counter(line for text in documents for line in set(text.split(between)))
    common = {line for line, count in counts.items() if count > max_documents and len(line.split()) >= min_words}
    return [between.join(line for line in text.split(between) if line not in common) for text in documents]


def cleaned(tmp_path, lines: Lines, units: list[list[str]], max_documents: int) -> list[str]:
    table = tmp_path / f"{random.random()}.npy"
    np.save(table, common_lines([lines.count(unit) for unit in units], max_documents))
    step = pickle.loads(pickle.dumps(DropCommon(lines, str(table))))
    return [step(Document(f"a#{n}", text, "a")).text for n, text in enumerate(text for unit in units for text in unit)]


@pytest.mark.parametrize(("by", "between"), [("line", "\n"), ("paragraph", "\n\n")])
@pytest.mark.parametrize("max_documents", [0, 5, 20, 1000])
@pytest.mark.parametrize("min_words", [1, 4])
def test_what_stands_in_too_many_documents_goes(tmp_path, by, between, max_documents, min_words):
    documents = texts(0, 90, between)
    expected = slowly_cleaned(documents, between, max_documents, min_words)
    assert cleaned(tmp_path, Lines(by, min_words), [documents], max_documents) == expected


def test_units_and_ranges_of_keys_change_nothing(tmp_path, monkeypatch):
    documents = texts(1, 90, "\n")
    whole = cleaned(tmp_path, Lines("line"), [documents], 10)
    assert whole != documents
    monkeypatch.setattr(module, "_MERGED_AT_ONCE", 7)
    monkeypatch.setattr(module, "_BATCH_DOCUMENTS", 4)
    assert cleaned(tmp_path, Lines("line"), [documents[:1], [], documents[1:50], documents[50:]], 10) == whole
    assert cleaned(tmp_path, Lines("line"), [documents[::-1]], 10) == whole[::-1]


def test_a_line_counts_once_a_document_in_any_case_and_punctuation():
    counts = Lines("line").count([f"{MENU}\n{MENU}", "HOME - about us: contact\nanother line of text", "a b"])
    assert sorted(counts["documents"].tolist()) == [1, 2]
    assert (np.diff(counts["key"].astype(np.int64)) > 0).all()


def test_how_many_went_is_told_and_a_document_without_them_is_untouched(tmp_path):
    np.save(tmp_path / "t.npy", common_lines([Lines("line").count([MENU, f"{MENU}\n{NOTICE}"])], 1))
    step = DropCommon(Lines("line"), str(tmp_path / "t.npy"))
    assert step.name == "line_dedup"
    document = step(Document("a#0", f"{MENU}\ntext\n\n{MENU}", "a"))
    assert (document.text, document.meta) == ("text\n", {"common_lines": 2})
    untouched = Document("a#1", NOTICE, "a")
    assert step(untouched) is untouched


def test_an_empty_table_and_no_units(tmp_path):
    assert common_lines([], 1).shape == (0,)
    assert cleaned(tmp_path, Lines("line"), [[MENU]], 1) == [MENU]
