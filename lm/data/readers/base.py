"""What every reader gives: documents that can be iterated again and again, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.progress import size

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
# Reads one file: (path, the file's id) -> (document id, text or token ids), in the file's order.
Read = Callable[[Path, str], Iterator[tuple[str, T]]]


@dataclass(frozen=True)
class Document:
    """One text; `id` is unique within `source` and the same on every run."""

    id: str
    text: str
    source: str


@dataclass(frozen=True)
class TokenDocument:
    """One document as token ids [n] in the file's integer type; where it can be, a view of the file."""

    id: str
    tokens: np.ndarray
    source: str


class Records(Protocol[R_co]):
    """Records that can be iterated any number of times, always in the same order."""

    @property
    def name(self) -> str:
        """What manifests call it: the path as it was given."""
        ...

    def __iter__(self) -> Iterator[R_co]: ...

    def fingerprint(self) -> str:
        """Returns a text that changes when the records may have changed, without reading them all."""
        ...

    def size_bytes(self) -> int:
        """Returns the bytes on disk (compressed ones as they lie there), for progress; 0 if unknown."""
        ...

    def describe(self) -> str:
        """Returns one line: how much there is, and what was left out and why."""
        ...


Documents = Records[Document]
TokenDocuments = Records[TokenDocument]


@dataclass(frozen=True)
class File(Generic[T]):
    """One file to read: where it is, what its documents' ids begin with, how it is read, and what belongs to it."""

    path: Path
    id: str
    read: Read[T]
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True)
class FileDocuments(Generic[T]):
    """The documents of one or more files, in the files' order.

    `make` builds the record from (id, content, source); `skipped` counts the files of a folder that were
    left out, by reason. Iterating raises UserError if the files turn out to hold no record at all.
    """

    name: str
    files: tuple[File[T], ...]
    make: Callable[[str, T, str], Any]
    skipped: dict[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for file in self.files:
            for id, content in file.read(file.path, file.id):
                empty = False
                yield self.make(id, content, self.name)
        if empty:
            raise UserError(f"{self.name}: not a single document in {_count(len(self.files), 'file')}; give other data")

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the files' names, sizes and modification times, and how they are read."""
        reading = sorted({repr(file.read) for file in self.files})
        assert not any(" at 0x" in text for text in reading), "a reader's repr must be the same on every run"
        return manifest.fingerprint([manifest.fingerprint_files(self._paths()), reading])

    def size_bytes(self) -> int:
        """Returns the bytes of all files as they lie on disk."""
        return sum(path.stat().st_size for path in self._paths())

    def _paths(self) -> list[Path]:
        return [path for file in self.files for path in (file.path, *file.companions)]

    def describe(self) -> str:
        """Returns one line: files and bytes read, and how many were skipped for which reason."""
        line = f"{self.name}: {_count(len(self.files), 'file')}, {size(self.size_bytes())}"
        if self.skipped:
            line += "; skipped " + ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))
        return line


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
