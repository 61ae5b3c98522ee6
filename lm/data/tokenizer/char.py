"""One token a character, looked up in a table; the rest as UTF-8 bytes, or as `<unk>`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from lm.data.tokenizer.base import UNK, Base, Spec, by_passage

_CODE_POINTS = 0x110000
_BYTES = 256


class Char(Base):
    """Characters seen in training, in order of code point, after the control tokens and (with fallback) 256 bytes."""

    def __init__(self, payload: bytes, spec: Spec) -> None:
        """`payload` is JSON: {"chars": every known character}."""
        chars = json.loads(payload)["chars"]
        control = spec.control()
        spelt = [bytes([byte]) for byte in range(_BYTES)] if spec.byte_fallback else []
        pieces = [*(b"" for _ in control), *spelt, *(char.encode() for char in chars)]
        super().__init__(spec.kind, control, pieces, lossless=spec.byte_fallback)
        self._first_byte = len(control) if spec.byte_fallback else None
        self._table = np.full(_CODE_POINTS, -1, np.int32)
        self._table[_code_points(chars)] = np.arange(len(pieces) - len(chars), len(pieces), dtype=np.int32)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return by_passage(texts, self._encode_passages)

    def _encode_passages(self, passages: list[str]) -> list[np.ndarray]:
        return [self._encode(passage) for passage in passages]

    def _encode(self, text: str) -> np.ndarray:
        points = _code_points(text)
        ids = self._table[points]
        unknown = ids < 0
        if not unknown.any():
            return ids
        if self._first_byte is None:
            ids[unknown] = self.control[UNK]
            return ids
        # Where a character is unknown, as many tokens as it has bytes; then those are filled in, in order.
        lengths = np.where(unknown, 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000), 1)
        spelt = np.repeat(unknown, lengths)
        out = np.repeat(ids, lengths)
        raw = points[unknown].astype("<u4").tobytes().decode("utf-32-le").encode()
        out[spelt] = np.frombuffer(raw, np.uint8).astype(np.int32) + self._first_byte
        return out


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def fit(spec: Spec, texts: Iterable[str]) -> bytes:
    """Collects the characters of all the text, the commonest if there are more than fit.

    Raises:
        UserError: the vocabulary has no room for any character.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    fixed = len(spec.control()) + (_BYTES if spec.byte_fallback else 0)
    spec.check_room(fixed + 1, f"{fixed} control and byte tokens and a character")
    commonest = sorted(counts, key=lambda char: (-counts[char], char))[: spec.limit - fixed]
    return json.dumps({"chars": "".join(sorted(commonest))}).encode()
