"""Train and validation: whole documents by a hash of their id, or the end of a single one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.readers.base import Document, Documents

_HASHES = 1 << 64


def split(documents: Documents, fraction: float, seed: int) -> tuple[Documents, Documents]:
    """Returns (train, validation), which share no document and together are `documents`.

    A source of exactly one document gives its last `fraction` (of its characters) to validation.
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
        length = len(first[0].text)
        if not 0 < _cut(length, fraction) < length:
            raise UserError(
                f"{documents.name}: {length} characters cannot be split with validation fraction={fraction}; "
                "give more text, or fraction 0"
            )
        return TextPart(documents, fraction, False), TextPart(documents, fraction, True)
    threshold = _threshold(documents, fraction, seed)
    return HashPart(documents, seed, threshold, False), HashPart(documents, seed, threshold, True)


@dataclass(frozen=True)
class HashPart:
    """The documents whose hash is below the threshold (validation), or the others."""

    documents: Documents
    seed: int
    threshold: int
    validation: bool

    @property
    def name(self) -> str:
        """The whole source's name."""
        return self.documents.name

    def __iter__(self) -> Iterator[Document]:
        if self._share() > 0:
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
        return f"{self.documents.describe()}; {'validation' if self.validation else 'train'}, {self._share():.1%}"


@dataclass(frozen=True)
class TextPart:
    """The beginning (train) or the end (validation) of a single document; its id says which characters."""

    documents: Documents
    fraction: float
    validation: bool

    @property
    def name(self) -> str:
        """The whole source's name."""
        return self.documents.name

    def __iter__(self) -> Iterator[Document]:
        for whole in self.documents:
            cut = _cut(len(whole.text), self.fraction)
            if self.validation:
                yield Document(f"{whole.id}[{cut}:]", whole.text[cut:], whole.source)
            else:
                yield Document(f"{whole.id}[:{cut}]", whole.text[:cut], whole.source)

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


def _cut(length: int, fraction: float) -> int:
    return int(length * (1 - fraction))


def _hash(seed: int, id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{id}".encode(), digest_size=8).digest(), "little")


def _threshold(documents: Documents, fraction: float, seed: int) -> int:
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
