"""The table of vocabularies."""

import pytest

from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import report


def test_larger_vocabularies_take_fewer_tokens_and_more_memory(corpus):
    config = tokenizers.defaults()
    rows = report.compare(config, corpus, ["byte_bpe", "wordpiece", "char"], [300, 500, 100_000])
    bpe = [row for row in rows if row.kind == "byte_bpe"]
    assert [row.vocab_size for row in bpe] == [300, 500, 100_000]
    assert 1 < bpe[0].bytes_per_token < bpe[1].bytes_per_token
    assert bpe[1].supported == 500
    assert bpe[2].supported < 100_000
    assert bpe[1].embedding_parameters(64) == 500 * 64
    assert bpe[1].embedding_bytes(64) == 500 * 64 * 16  # weight, gradient, two moments, four bytes each
    assert [row.kind for row in rows].count("char") == 1
    table = report.table(rows, d_model=64)
    assert f"text supports {bpe[2].supported:,}" in table
    assert "(not lossless)" in table
    assert len(table.splitlines()) == 2 + 7


def test_one_passage_is_too_little():
    with pytest.raises(UserError, match="too little to train and measure on"):
        report.compare(tokenizers.defaults(), ["short"], ["byte_bpe"], [300])
