"""The tokenizer stage: from text to a directory with a tokenizer, and from the directory back to a `Tokenizer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.tokenizer import char, huggingface, ids, imported, spm
from lm.data.tokenizer.base import Spec, Tokenizer
from lm.data.tokenizer.passages import sample

STAGE = "tokenizer"
_LARGEST = 131_072
_SMALLEST_SAMPLE = 1_000_000  # bytes; some passages always fit in it
_MEASURED_PASSAGES = 64  # for the manifest's bytes per token, spread over the sample
_SMALLEST_DERIVED = 512
_LARGEST_DERIVED = 32_768
_BYTES_PER_DERIVED_TOKEN = 256  # so a token is seen often enough to be learnt: 1 MB of text gives 4,096


@dataclass(frozen=True)
class _Kind:
    fit: Callable[[Spec, Iterable[str]], bytes]  # reads the texts several times
    open: Callable[[bytes, Spec], Tokenizer]
    suffix: str


_KINDS = {
    "sentencepiece_bpe": _Kind(spm.fit, spm.SentencePiece, "model"),
    "sentencepiece_unigram": _Kind(spm.fit, spm.SentencePiece, "model"),
    "byte_bpe": _Kind(huggingface.fit_byte_bpe, huggingface.ByteBPE, "json"),
    "wordpiece": _Kind(huggingface.fit_wordpiece, huggingface.WordPiece, "json"),
    "char": _Kind(char.fit, char.Char, "json"),
}


def kinds() -> list[str]:
    """Returns the kinds that can be trained."""
    return list(_KINDS)


def defaults() -> ConfigDict:
    """Returns the stage's config."""
    return ConfigDict(
        {
            "kind": "byte_bpe",  # or sentencepiece_bpe, sentencepiece_unigram, wordpiece, char
            "vocab_size": config_dict.placeholder(int),  # control tokens included; unset: derived from the text
            "byte_fallback": True,  # char alone may switch it off: unknown characters are then <unk>
            "split_digits": True,  # every digit a token of its own
            "reserved": 8,  # spare control tokens, such as for the roles in a chat
            "sample_bytes": 50_000_000,  # at most so much text is trained on, and held in memory
            "seed": 0,  # of the sample
        }
    )


def train(
    config: Mapping[str, Any] | ConfigDict, texts: Iterable[str], output: Path, *, inputs: dict[str, str]
) -> Tokenizer:
    """Trains a tokenizer on (a sample of) the texts, writes its directory and returns it.

    Raises:
        UserError: a config value out of range, no text, or a vocabulary larger than the text supports.
    """
    config = dict(config)
    _check(config)
    passages = sample(texts, config["sample_bytes"], config["seed"])
    if not any(map(str.strip, passages)):
        raise UserError("tokenizer: the text is empty, so there is nothing to learn tokens from; check data.path")
    # All characters of the corpus must be known, so they are collected from all of it.
    payload, tokenizer = fit(config, passages if config["kind"] != "char" else texts)
    wanted, largest = config["vocab_size"], tokenizer.vocab_size
    if wanted is not None and largest < wanted:
        raise UserError(
            f"tokenizer.vocab_size={wanted}: the text supports {largest} tokens of kind {tokenizer.kind} at most;"
            f" use {largest} or less, leave it unset, or give more text"
        )
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"tokenizer-{manifest.attempt_id()}.{_KINDS[config['kind']].suffix}"
    file.write_bytes(payload)
    manifest.write(
        output,
        stage=STAGE,
        config=config,
        inputs=inputs,
        counts={
            "vocab_size": tokenizer.vocab_size,
            "control": tokenizer.control,
            "lossless": tokenizer.lossless,
            "sample_bytes": sum(len(passage.encode()) for passage in passages),
            "bytes_per_token": bytes_per_token(tokenizer, passages[:: 1 + len(passages) // _MEASURED_PASSAGES]),
        },
        files=[file],
    )
    return tokenizer


def fit(config: Mapping[str, Any], texts: Iterable[str]) -> tuple[bytes, Tokenizer]:
    """Trains on all of these texts; returns the file's content and the tokenizer.

    Its vocabulary is smaller than the config asks for where the text supports no more.

    Raises:
        UserError: the vocabulary has no room for what the kind must hold.
    """
    spec = _spec(config, limit=config["vocab_size"] or _derived_size(config["kind"], texts))
    payload = _KINDS[spec.kind].fit(spec, texts)
    return payload, _KINDS[spec.kind].open(payload, spec)


def load(directory: Path) -> Tokenizer:
    """Opens the tokenizer in a directory that `train`, `ids.write` or `imported.adopt` made.

    Raises:
        UserError: no finished tokenizer there.
    """
    made = manifest.read(directory, STAGE)
    payload = (directory / made.files[0].name).read_bytes()
    if made.config["kind"] == ids.KIND:
        return ids.Ids(payload)
    if made.config["kind"] == imported.KIND:
        return imported.Imported((directory / imported.TOKENIZER).read_bytes(), imported.Facts(**made.config))
    return _KINDS[made.config["kind"]].open(payload, _spec(made.config, limit=made.counts["vocab_size"]))


def bytes_per_token(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Returns UTF-8 bytes of text per token it is encoded to."""
    return sum(len(text.encode()) for text in texts) / max(1, sum(map(len, tokenizer.encode_batch(texts))))


def _spec(config: Mapping[str, Any], limit: int) -> Spec:
    return Spec(
        kind=config["kind"],
        limit=limit,
        byte_fallback=config["byte_fallback"],
        split_digits=config["split_digits"],
        reserved=config["reserved"],
    )


def _derived_size(kind: str, texts: Iterable[str]) -> int:
    """Returns the power of two that suits the text, within limits; characters are all taken."""
    if kind == "char":
        return _LARGEST
    tokens = sum(len(text.encode()) for text in texts) // _BYTES_PER_DERIVED_TOKEN
    return min(max(1 << tokens.bit_length() >> 1, _SMALLEST_DERIVED), _LARGEST_DERIVED)


def _check(config: Mapping[str, Any]) -> None:
    if config["kind"] not in _KINDS:
        raise UserError(f"tokenizer.kind={config['kind']}: no such kind; use one of {', '.join(_KINDS)}")
    if not config["byte_fallback"] and config["kind"] != "char":
        raise UserError(f"tokenizer.byte_fallback=False: kind {config['kind']} cannot do without it; only char can")
    if config["vocab_size"] is not None and not 0 < config["vocab_size"] <= _LARGEST:
        raise UserError(
            f"tokenizer.vocab_size={config['vocab_size']}: out of range; use 1 to {_LARGEST}, or leave it unset"
        )
    if config["reserved"] < 0:
        raise UserError(f"tokenizer.reserved={config['reserved']}: use 0 or more")
    if config["sample_bytes"] < _SMALLEST_SAMPLE:
        raise UserError(f"tokenizer.sample_bytes={config['sample_bytes']}: too small; use {_SMALLEST_SAMPLE} or more")
