"""Train and validation: whole documents by a hash of their id, or the end of a single one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.readers.base import Document, Records, TokenDocument

R = TypeVar("R", Document, TokenDocument)
_HASHES = 1 << 64


def split(documents: Records[R], fraction: float, seed: int) -> tuple[Records[R], Records[R]]:
    """Returns (train, validation), which share no text and together are `documents`.

    A source of exactly one document gives its last `fraction` (of its characters or tokens) to validation.
    Otherwise a document is in validation if the hash of (seed, id) is below a threshold, so that about
    `fraction` of them are, each stays on its side when others come or go, and neither side is empty.
    `fraction` 0 leaves validation empty.

    Raises:
        UserError: a fraction outside [0, 1), or a source too small for two sides.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"validation fraction={fraction}: must be at least 0 and below 1, such as 0.1")
    if fraction == 0:
        return HashPart(documents, seed, 0, False), HashPart(documents, seed, 0, True)
    first = list(islice(documents, 2))
    if len(first) == 1:
        length = len(_content(first[0]))
        if not 0 < _cut(length, fraction) < length:
            raise UserError(
                f"{documents.name}: its one document of length {length} cannot be split with validation "
                f"fraction={fraction}; give more text, or another fraction"
            )
        return EndPart(documents, fraction, False), EndPart(documents, fraction, True)
    threshold = _threshold(documents, fraction, seed)
    return HashPart(documents, seed, threshold, False), HashPart(documents, seed, threshold, True)


@dataclass(frozen=True)
class HashPart(Generic[R]):
    """The documents whose hash is below the threshold (validation), or the others."""

    documents: Records[R]
    seed: int
    threshold: int
    validation: bool

    @property
    def name(self) -> str:
        """The whole source's name."""
        return self.documents.name

    def __iter__(self) -> Iterator[R]:
        if self._share() == 0:
            return
        for document in self.documents:
            if (_hash(self.seed, document.id) < self.threshold) == self.validation:
                yield document

    def _share(self) -> float:
        below = self.threshold / _HASHES
        return below if self.validation else 1 - below

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the source's own fingerprint and which part of it this is."""
        return manifest.fingerprint([self.documents.fingerprint(), self.seed, self.threshold, self.validation])

    def size_bytes(self) -> int:
        """Returns the expected share of the source's bytes."""
        return round(self._share() * self.documents.size_bytes())

    def describe(self) -> str:
        """Returns the source's line, and which part of it this is."""
        return f"{self.documents.describe()}; {'validation' if self.validation else 'train'}, about {self._share():.1%}"


@dataclass(frozen=True)
class EndPart(Generic[R]):
    """The beginning (train) or the end (validation) of a single document; its id tells which, as a slice."""

    documents: Records[R]
    fraction: float
    validation: bool

    @property
    def name(self) -> str:
        """The whole source's name."""
        return self.documents.name

    def __iter__(self) -> Iterator[R]:
        for whole in self.documents:
            cut = _cut(len(_content(whole)), self.fraction)
            yield _sliced(whole, slice(cut, None) if self.validation else slice(cut))

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the source's own fingerprint and which part of it this is."""
        return manifest.fingerprint([self.documents.fingerprint(), self.fraction, self.validation])

    def size_bytes(self) -> int:
        """Returns the share of the source's bytes."""
        return round((self.fraction if self.validation else 1 - self.fraction) * self.documents.size_bytes())

    def describe(self) -> str:
        """Returns the source's line, and which part of it this is."""
        part = f"validation, its last {self.fraction:.1%}" if self.validation else f"train, all but {self.fraction:.1%}"
        return f"{self.documents.describe()}; {part}"


def _content(record: Document | TokenDocument) -> str | np.ndarray:
    return record.text if isinstance(record, Document) else record.tokens


def _sliced(record: R, part: slice) -> R:
    start, stop = ("" if bound is None else bound for bound in (part.start, part.stop))
    content: dict[str, Any] = {"text" if isinstance(record, Document) else "tokens": _content(record)[part]}
    return replace(record, id=f"{record.id}[{start}:{stop}]", **content)


def _cut(length: int, fraction: float) -> int:
    return int(length * (1 - fraction))


def _hash(seed: int, id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{id}".encode(), digest_size=8).digest(), "little")


def _threshold(documents: Records[R], fraction: float, seed: int) -> int:
    """Returns the threshold nearest to `fraction` that leaves a document on either side.

    Reads only until it has seen one on each; small sources may have to be read whole.
    """
    threshold = int(fraction * _HASHES)
    lowest, highest = _HASHES, -1
    for document in documents:
        value = _hash(seed, document.id)
        lowest, highest = min(lowest, value), max(highest, value)
        if lowest < threshold <= highest:
            return threshold
    if lowest >= highest:
        raise UserError(f"{documents.name}: cannot be split into train and validation; give more than one document")
    return lowest + 1 if lowest >= threshold else highest
