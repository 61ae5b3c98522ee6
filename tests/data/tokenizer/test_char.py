"""Characters: the table, and what becomes of those that are not in it."""

import pytest

from lm.data import tokenizer as tokenizers


def _train(texts, directory, **changes):
    config = tokenizers.defaults()
    config.update({"kind": "char", **changes})
    return tokenizers.train(config, texts, directory, inputs={})


def test_vocabulary_is_the_characters_of_the_text(tmp_path):
    made = _train(["hello", "world"], tmp_path, byte_fallback=False, reserved=0)
    assert made.vocab_size == 4 + len(set("helloworld"))
    assert made.encode("hello") == [4 + "dehlorw".index(char) for char in "hello"]
    assert not made.lossless


def test_an_unknown_character_is_one_unk_without_fallback(tmp_path):
    made = _train(["abc"], tmp_path, byte_fallback=False)
    unk = made.control["<unk>"]
    assert made.encode("a日\U0001f600b") == [made.encode("a")[0], unk, unk, made.encode("b")[0]]
    assert made.decode(made.encode("a日b")) == "ab"
    assert made.token_bytes()[unk] == 0


def test_an_unknown_character_is_its_bytes_with_fallback(tmp_path):
    made = _train(["abc"], tmp_path)
    first = len(made.control)
    for char in ("é", "日", "\U0001f600"):
        assert made.encode(char) == [first + byte for byte in char.encode()]
    assert made.encode("aéb") == [*made.encode("a"), *made.encode("é"), *made.encode("b")]


def test_characters_come_from_all_the_text_not_a_sample(tmp_path):
    rare = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
    texts = [("x" * 49 + "\n") * 20_000, *rare, ("y" * 49 + "\n") * 20_000]
    made = _train(texts, tmp_path, byte_fallback=False, reserved=0, sample_bytes=1_000_000)
    assert made.vocab_size == 4 + len(rare) + len("xy\n")


def test_a_smaller_vocabulary_keeps_the_commonest(tmp_path):
    made = _train(["aaabbc"], tmp_path, byte_fallback=False, reserved=0, vocab_size=6)
    assert [made.piece(id) for id in range(4, 6)] == ["a", "b"]


def test_a_larger_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the text supports 7 tokens of kind char at most"):
        _train(["aaabbc"], tmp_path, byte_fallback=False, reserved=0, vocab_size=8)
