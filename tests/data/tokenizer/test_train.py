"""The stage: its directory, its sizes, its refusals, and one outcome for one input."""

import hashlib
import os
import subprocess
import sys

import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers


def _config(**changes):
    config = tokenizers.defaults()
    config.update(changes)
    return config


def test_manifest_says_what_was_made(directories, trained, corpus):
    for kind, directory in directories.items():
        made = manifest.read(directory, "tokenizer")
        assert made.config["kind"] == kind
        assert made.counts["vocab_size"] == trained[kind].vocab_size
        assert made.counts["control"] == trained[kind].control
        assert made.counts["sample_bytes"] == sum(len(text.encode()) for text in corpus)
        assert made.counts["bytes_per_token"] == pytest.approx(
            tokenizers.bytes_per_token(trained[kind], corpus), rel=1e-3
        )
        assert manifest.verify(directory) == []


@pytest.mark.parametrize("kind", ["sentencepiece_bpe", "sentencepiece_unigram", "byte_bpe", "wordpiece"])
def test_vocabulary_has_the_size_asked_for_and_no_more_than_the_text_supports(kind, corpus, tmp_path):
    assert tokenizers.train(_config(kind=kind, vocab_size=400), corpus, tmp_path / "a", inputs={}).vocab_size == 400
    with pytest.raises(UserError, match=r"tokenizer.vocab_size=100000: the text supports \d+ tokens") as caught:
        tokenizers.train(_config(kind=kind, vocab_size=100_000), corpus, tmp_path / "b", inputs={})
    assert not (tmp_path / "b").exists()
    largest = int(str(caught.value).split(" tokens")[0].rsplit(" ", 1)[1])
    made = tokenizers.train(_config(kind=kind, vocab_size=largest), corpus, tmp_path / "b", inputs={})
    assert made.vocab_size == largest


@pytest.mark.parametrize("kind", tokenizers.kinds())
def test_the_smallest_size_named_works(kind, corpus, tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size=3: no room for") as caught:
        tokenizers.train(_config(kind=kind, vocab_size=3), corpus, tmp_path, inputs={})
    smallest = int(str(caught.value).split("use ")[1].split(" ")[0])
    made = tokenizers.train(_config(kind=kind, vocab_size=smallest), corpus, tmp_path, inputs={})
    assert made.vocab_size == smallest
    if made.lossless:
        assert made.decode(made.encode(corpus[0])) == corpus[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "bpe"}, "tokenizer.kind=bpe: no such kind; use one of sentencepiece_bpe"),
        ({"byte_fallback": False}, "kind byte_bpe cannot do without it"),
        ({"vocab_size": 200_000}, "tokenizer.vocab_size=200000: out of range"),
        ({"vocab_size": 0}, "tokenizer.vocab_size=0: out of range"),
        ({"reserved": -1}, "tokenizer.reserved=-1"),
        ({"sample_bytes": 10}, "tokenizer.sample_bytes=10: too small"),
    ],
)
def test_bad_config_is_one_line(changes, message, corpus, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        tokenizers.train(_config(**changes), corpus, tmp_path, inputs={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("texts", [[], [""], [" \n\t"]])
def test_no_text_is_refused(texts, tmp_path):
    with pytest.raises(UserError, match="the text is empty"):
        tokenizers.train(_config(), texts, tmp_path, inputs={})


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json here"):
        tokenizers.load(tmp_path)


@pytest.mark.parametrize("kind", tokenizers.kinds())
def test_very_little_text_still_gives_a_tokenizer(kind, tmp_path):
    text = "To be, or not to be: that is the question.\n"
    made = tokenizers.train(_config(kind=kind), [text], tmp_path, inputs={})
    assert made.vocab_size <= 512
    assert not made.lossless or made.decode(made.encode(text)) == text


def test_reserved_tokens_are_as_many_as_asked_for(corpus, tmp_path):
    for kind in tokenizers.kinds():
        made = tokenizers.train(_config(kind=kind, reserved=2), corpus, tmp_path / kind, inputs={})
        assert list(made.control) == ["<pad>", "<bos>", "<eos>", "<unk>", "<reserved_0>", "<reserved_1>"]


def test_digits_are_split_or_not(corpus, tmp_path):
    numbers = [*corpus, "1995 1995 1995 1995 1995\n" * 20]
    for kind in ("sentencepiece_bpe", "byte_bpe", "wordpiece"):
        for split in (True, False):
            directory = tmp_path / f"{kind}{split}"
            made = tokenizers.train(_config(kind=kind, split_digits=split), numbers, directory, inputs={})
            pieces = [made.decode([id]) for id in range(made.vocab_size)]
            longest = max(sum(map(str.isdigit, piece)) for piece in pieces)
            assert (longest == 1) == split, kind


def test_training_has_one_outcome(corpus, directories, tmp_path):
    """In another process, with another hash seed, every kind comes out byte for byte the same."""
    (tmp_path / "corpus.txt").write_text("\x1e".join(corpus), newline="")
    code = """
import sys; from pathlib import Path; from lm.data import tokenizer as tokenizers
root = Path(sys.argv[1]); texts = (root / "corpus.txt").open(newline="").read().split("\\x1e")
for kind in tokenizers.kinds():
    config = tokenizers.defaults(); config.kind = kind
    tokenizers.train(config, texts, root / kind, inputs={})
"""
    environment = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    for kind, directory in directories.items():
        hashes = [manifest.read(made).files[0].sha256 for made in (directory, tmp_path / kind)]
        assert hashes[0] == hashes[1], kind
        assert len(hashes[0]) == hashlib.sha256().digest_size * 2
