"""Byte-level BPE and WordPiece, by Hugging Face `tokenizers`.

A finished tokenizer is stored as the `tokenizer.json` that Hugging Face reads, control tokens included. That
library looks for control tokens in text, so `HuggingFace` takes them out before it opens the file: what is
not in the library's vocabulary it cannot emit.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lm.data.tokenizer.base import UNK, Base, Spec, by_passage
from lm.data.tokenizer.bpe import pattern

_BYTES = 256
_BATCH = 256  # passages
_CONTINUES = "##"  # WordPiece's mark of a token that does not begin a word
_SMALLEST = 32  # WordPiece tokens, so that characters and their merges both find room


class HuggingFace(Base):
    """A `tokenizers.Tokenizer` whose ids start after the control tokens."""

    def __init__(self, payload: bytes, spec: Spec, to_bytes: Callable[[str], bytes], *, lossless: bool) -> None:
        """`payload` is a tokenizer.json; `to_bytes` says what text a token of its vocabulary stands for."""
        from tokenizers import Tokenizer

        raw = json.loads(payload)
        control = {token["content"]: token["id"] for token in raw.pop("added_tokens")}
        vocabulary = raw["model"]["vocab"]
        pieces = [to_bytes(token) for token in sorted(vocabulary, key=vocabulary.get)]
        kept = {UNK} if raw["model"].get("unk_token") else set()
        raw["model"]["vocab"] = {token: id for token, id in vocabulary.items() if token not in control.keys() - kept}
        super().__init__(spec.kind, control, pieces, lossless=lossless)
        self._library = Tokenizer.from_str(json.dumps({**raw, "added_tokens": []}))

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return by_passage(texts, self._encode_passages)

    def _encode_passages(self, passages: list[str]) -> list[np.ndarray]:
        ids: list[np.ndarray] = []
        for start in range(0, len(passages), _BATCH):  # the library's results take a hundred bytes a token
            encodings = self._library.encode_batch_fast(passages[start : start + _BATCH], add_special_tokens=False)
            ids.extend(np.array(encoding.ids, np.int32) for encoding in encodings)
        return ids


class ByteBPE(HuggingFace):
    """Byte-level BPE (Radford et al., 2019): 256 byte tokens and merges of them, so every text is spelt exactly."""

    def __init__(self, payload: bytes, spec: Spec) -> None:
        table = byte_of()
        super().__init__(payload, spec, lambda token: bytes(table[char] for char in token), lossless=True)


class WordPiece(HuggingFace):
    """WordPiece (Schuster and Nakajima, 2012; BERT): words apart from spaces and marks, longest token first.

    Not lossless: spaces between words are not kept, and a word with an unknown character becomes `<unk>`.
    """

    def __init__(self, payload: bytes, spec: Spec) -> None:
        super().__init__(payload, spec, lambda token: token.removeprefix(_CONTINUES).encode(), lossless=False)
        tokens = json.loads(payload)["model"]["vocab"]
        self._continues = {id for token, id in tokens.items() if token.startswith(_CONTINUES)}

    def decode(self, ids: Iterable[int]) -> str:
        """Joins tokens to words, and words by one space."""
        out: list[str] = []
        for id in ids:
            if id in self._names:
                continue
            if out and id not in self._continues:
                out.append(" ")
            out.append(self._pieces[id].decode())
        return "".join(out)

    def piece(self, id: int) -> str:
        """Returns a token in printable form, with `##` before those that do not begin a word."""
        return (_CONTINUES if id in self._continues else "") + super().piece(id)


def fit_byte_bpe(spec: Spec, sample: Iterable[str]) -> bytes:
    """Trains a byte-level BPE of at most `spec.limit` tokens and returns its tokenizer.json.

    Raises:
        UserError: the vocabulary has no room for the bytes.
    """
    import tokenizers as hf

    n_control = len(spec.control())
    spec.check_room(n_control + _BYTES, f"{n_control} control tokens and 256 bytes")
    tokenizer = hf.Tokenizer(hf.models.BPE())
    by_word = hf.pre_tokenizers.Split(hf.Regex(pattern(spec.split_digits)), "isolated")
    to_bytes = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([by_word, to_bytes])
    tokenizer.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=spec.limit - n_control,
        min_frequency=2,
        initial_alphabet=_byte_chars(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    return _with_control(json.loads(tokenizer.to_str()), spec)


def fit_wordpiece(spec: Spec, sample: Iterable[str]) -> bytes:
    """Trains a WordPiece of at most `spec.limit` tokens and returns its tokenizer.json.

    Raises:
        UserError: the vocabulary has no room for any character.
    """
    import tokenizers as hf

    n_control = len(spec.control())
    spec.check_room(n_control + _SMALLEST, f"{n_control} control tokens and characters")
    tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token=UNK))
    digits = [hf.pre_tokenizers.Digits(individual_digits=True)] if spec.split_digits else []
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([hf.pre_tokenizers.BertPreTokenizer(), *digits])
    tokenizer.decoder = hf.decoders.WordPiece(prefix=_CONTINUES, cleanup=False)
    # A quarter to characters that begin a word and a quarter to the same inside words, at most.
    alphabet = _alphabet(sample, (spec.limit - n_control) // 4)
    trainer = hf.trainers.WordPieceTrainer(
        vocab_size=spec.limit - n_control + 1,  # its <unk> is one of our control tokens
        min_frequency=2,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        # The library numbers continuing characters in the order of a hash map, another one every run;
        # named here they have fixed ids, and training one outcome.
        special_tokens=[UNK, *(_CONTINUES + char for char in alphabet if unicodedata.category(char)[0] != "P")],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    return _with_control(json.loads(tokenizer.to_str()), spec)


def _alphabet(sample: Iterable[str], most: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in sample:
        counts.update(text)
    chars = sorted((char for char in counts if not char.isspace()), key=lambda char: (-counts[char], char))
    return sorted(chars[:most])


def _byte_chars() -> list[str]:
    """Returns the printable stand-in of each byte 0..255 that byte-level vocabularies are written in."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    odd = [byte for byte in range(_BYTES) if byte not in printable]
    return [chr(byte) if byte in printable else chr(_BYTES + odd.index(byte)) for byte in range(_BYTES)]


def byte_of() -> dict[str, int]:
    """Returns the byte that each printable stand-in of a byte-level vocabulary is for."""
    return {char: byte for byte, char in enumerate(_byte_chars())}


def _with_control(raw: dict[str, Any], spec: Spec) -> bytes:
    """Puts the control tokens before the learnt ones, in the form Hugging Face reads."""
    control = spec.control()
    learnt = [token for token in sorted(raw["model"]["vocab"], key=raw["model"]["vocab"].get) if token != UNK]
    assert not control.keys() & set(learnt), "words are cut at marks, so no learnt token can spell a control token"
    raw["model"]["vocab"] = {token: id for id, token in enumerate([*control, *learnt])}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    raw["added_tokens"] = [{"id": id, "content": name, **flags} for name, id in control.items()]
    return json.dumps(raw, ensure_ascii=False).encode()
