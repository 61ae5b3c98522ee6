"""What a unit of work leaves behind: files of JSON lines named by their content, and one receipt, written last.

Two attempts at the same unit write the same bytes under the same names, so a unit that was killed half way can be
done again by anyone, at the same time even, and a finished one is recognised by its receipt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.manifest import FileEntry
from lm.data.curate.read.streams import inflated

SUFFIX = ".jsonl.zst"
_LEVEL = 3


class Ledger:
    """Writes records as compressed JSON lines; `close` gives the file its name, `STEM-HASH.jsonl.zst`.

    A ledger to which nothing was written leaves no file.
    """

    def __init__(self, folder: Path, stem: str, level: int = _LEVEL) -> None:
        self._folder, self._stem, self._level = folder, stem, level
        self._temporary = folder / f"{stem}.{manifest.attempt_id()}.tmp"
        self._stream: Any = None
        self._file: _Hashing | None = None
        self.records = 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        import orjson

        if self._stream is None:
            self._open()
        self._stream.write(orjson.dumps(record) + b"\n")
        self.records += 1

    def _open(self) -> None:
        import zstandard

        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = _Hashing(self._temporary.open("wb"))
        compressor: Any = zstandard.ZstdCompressor(level=self._level)
        self._stream = compressor.stream_writer(self._file, closefd=False)

    def close(self) -> Path | None:
        """Finishes the file and returns its path; None if there is none."""
        if self._stream is None or self._file is None:
            return None
        self._stream.close()
        self._file.raw.close()
        path = self._folder / f"{self._stem}-{self._file.digest.hexdigest()[:12]}{SUFFIX}"
        self._temporary.replace(path)
        return path

    def abandon(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            self._file.raw.close()
            self._temporary.unlink(missing_ok=True)


class _Hashing:
    """A binary file that knows the SHA-256 of what was written to it."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw, self.digest = raw, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.raw.write(data)

    def flush(self) -> None:
        self.raw.flush()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a ledger.

    Raises:
        UserError: the file is damaged.
    """
    import orjson

    damage = ""
    try:
        with path.open("rb") as raw:
            stream = inflated(raw, ".zst")
            for line in stream:
                yield orjson.loads(line)
            damage = stream.damage
    except orjson.JSONDecodeError as error:
        damage = str(error)
    if damage:
        raise UserError(f"{path}: damaged ({damage}); delete it and run `lm curate` again")


@dataclass(frozen=True)
class Receipt:
    """Says that a unit is done: its files by role, relative to the output directory, and what was counted."""

    files: dict[str, FileEntry]
    counts: dict[str, Any]


@dataclass(frozen=True)
class Receipts:
    """The receipts of one phase, one a unit."""

    output: Path
    phase: str
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.output / "work" / self.phase)

    def path(self, unit: int) -> Path:
        """Returns where the receipt of a unit lies."""
        return self.folder / f"{unit:05d}.json"

    def write(self, unit: int, files: Mapping[str, Path | None], counts: Mapping[str, Any]) -> None:
        """Writes the receipt of a unit whose files are complete."""
        entries = {
            role: FileEntry(path.relative_to(self.output).as_posix(), path.stat().st_size, manifest.sha256_file(path))
            for role, path in files.items()
            if path is not None
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        receipt = {"files": {role: asdict(entry) for role, entry in entries.items()}, "counts": counts}
        manifest.write_atomic(self.path(unit), json.dumps(receipt, sort_keys=True))

    def find(self, unit: int) -> Receipt | None:
        """Returns the receipt of a unit if it is done and its files are there at their sizes, else None."""
        path = self.path(unit)
        if not path.is_file():
            return None
        raw = json.loads(path.read_text(encoding="utf-8"))
        receipt = Receipt({role: FileEntry(**entry) for role, entry in raw["files"].items()}, raw["counts"])
        for entry in receipt.files.values():
            file = self.output / entry.name
            if not file.is_file() or file.stat().st_size != entry.bytes:
                return None
        return receipt

    def get(self, unit: int) -> Receipt:
        """Returns the receipt of a unit that is done."""
        receipt = self.find(unit)
        assert receipt is not None, f"unit {unit} of {self.phase} is not done"
        return receipt
