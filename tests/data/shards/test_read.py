from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.shards import Shards, read

Make = Callable[..., Shards]
Texts = Callable[..., list[str]]


def oracle_stream(shards: Shards, texts: list[str], *, eos: bool = True) -> tuple[list[int], list[int]]:
    """Tokens of a source, and the document of each, by the obvious loop."""
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    tokens: list[int] = []
    documents: list[int] = []
    for number, text in enumerate(texts):
        ids = [*tokenizer.encode(text), *([tokenizer.eos_id] if eos else [])]
        tokens += ids
        documents += [number] * len(ids)
    return tokens, documents


@pytest.mark.parametrize("shard_tokens", [1, 60, 10**8])
@pytest.mark.parametrize("eos", [False, True])
def test_gather_equals_a_plain_loop_across_shards_and_around_the_end(
    make_shards: Make, random_texts: Texts, shard_tokens: int, eos: bool
) -> None:
    texts = random_texts(1, 50)
    shards = make_shards({"train": {"a": texts}}, eos=eos, shard_tokens=shard_tokens)
    tokens, documents = oracle_stream(shards, texts, eos=eos)
    source = shards.source("train", "a")
    n = source.n_tokens
    assert (n, source.n_documents) == (len(tokens), len(texts))
    starts = np.array([0, 5, n // 2, n - 1, n - 7, 5])
    for length in (1, 9, 130, 2 * n):
        token_BL, document_BL = source.gather(starts, length)
        for row, start in enumerate(starts):
            where = [divmod(i, n) for i in range(start, start + length)]
            assert token_BL[row].tolist() == [tokens[i] for _, i in where]
            assert document_BL[row].tolist() == [documents[i] + turn * len(texts) for turn, i in where]


def test_only_so_many_shards_are_open_at_a_time(
    make_shards: Make, random_texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_shards({"train": {"a": random_texts(6, 20)}}, shard_tokens=1)
    source = shards.source("train", "a")
    starts = np.random.default_rng(0).integers(0, source.n_tokens, 300)
    expected = source.gather(starts, 5)
    assert len(shards._maps._open) == 20
    monkeypatch.setattr(read, "_OPEN_SHARDS", 3)
    few = Shards.open(shards.directory)
    np.testing.assert_array_equal(few.source("train", "a").gather(starts, 5), expected)
    assert len(few._maps._open) == 3


@pytest.mark.parametrize("shard_tokens", [60, 10**8])
def test_every_document_is_known_by_its_place(make_shards: Make, random_texts: Texts, shard_tokens: int) -> None:
    texts = random_texts(2, 30)
    shards = make_shards({"train": {"a": texts}}, shard_tokens=shard_tokens)
    source = shards.source("train", "a")
    start = 0
    for number, text in enumerate(texts):
        row = source.document(number)
        assert (row["id"], row["source"], row["bytes"]) == (f"a:{number}", "a", len(text.encode()))
        assert row["tokens"] == len(text) + 1
        assert source.where(start) == (row["shard"], row["offset"])
        start += row["tokens"]


def test_pickling_drops_the_memory_maps(make_shards: Make, random_texts: Texts) -> None:
    source = make_shards({"train": {"a": random_texts(3, 2000)}}, shard_tokens=1000).source("train", "a")
    before = source.gather(np.arange(0, source.n_tokens, 500), 20)
    data = pickle.dumps(source)
    assert len(data) < source.n_tokens / 4
    after = pickle.loads(data).gather(np.arange(0, source.n_tokens, 500), 20)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_counts_and_names(make_shards: Make) -> None:
    shards = make_shards({"train": {"b": ["ab", "x"], "a": ["abc"]}, "validation": {"a": ["abcd"], "b": []}})
    assert shards.splits == {"train": ["a", "b"], "validation": ["a"]}
    assert shards.n_tokens("train") == 9
    assert shards.bytes_per_token("train") == pytest.approx((2 + 1 + 3) / 9)
    assert shards.bytes_per_token("train", {"a": 3, "b": 1}) == pytest.approx(0.75 * 3 / 4 + 0.25 * 3 / 5)
    assert shards.bytes_per_token("train", {"a": 0, "b": 1}) == pytest.approx(3 / 5)
    with pytest.raises(UserError, match=r"no tokens in split 'test'; it has train, validation"):
        shards.sources("test")
    with pytest.raises(UserError, match=r"no source train/c; it has train/a, train/b, validation/a"):
        shards.source("train", "c")


@pytest.mark.parametrize("suffix", [".bin", "-ends.bin", "-docs.jsonl"])
def test_a_truncated_file_is_named_when_shards_are_opened(make_shards: Make, random_texts: Texts, suffix: str) -> None:
    shards = make_shards({"train": {"a": random_texts(4, 20)}})
    (stem,) = shards.manifest.counts["splits"]["train"]["a"]["files"]
    path = shards.directory / f"{stem}{suffix}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=path.name):
        Shards.open(shards.directory)


@pytest.mark.parametrize("suffix", [".bin", "-ends.bin", "-docs.jsonl"])
def test_one_flipped_bit_is_found_by_verify(make_shards: Make, random_texts: Texts, suffix: str) -> None:
    shards = make_shards({"train": {"a": random_texts(5, 20)}})
    assert manifest.verify(shards.directory) == []
    (stem,) = shards.manifest.counts["splits"]["train"]["a"]["files"]
    path = shards.directory / f"{stem}{suffix}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    Shards.open(shards.directory)
    (line,) = manifest.verify(shards.directory)
    assert path.name in line


def test_a_directory_of_another_stage_is_refused(char_dir: Path) -> None:
    assert json.loads((char_dir / manifest.NAME).read_text())["stage"] == "tokenizer"
    with pytest.raises(UserError, match="lm tokenizer"):
        Shards.open(char_dir)
