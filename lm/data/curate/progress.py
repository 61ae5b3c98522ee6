"""How workers say how far they are: each process keeps one small file, and whoever watches adds them up."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

from lm.common import manifest

_EVERY_SECONDS = 0.5
_EVERY_RECORDS = 64


class Beat:
    """Adds one task's progress to its process's file, twice a second at most."""

    def __init__(self, output: Path, phase: str) -> None:
        self._path = output / "work" / "progress" / phase / f"{socket.gethostname()}-{os.getpid()}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._before = _read(self._path)
        self._written = time.monotonic()
        self._calls = 0

    def __call__(self, records: int, kept: int) -> None:
        """Says how many records of the task were read, and how many documents of them kept, so far."""
        self._calls += 1
        if self._calls % _EVERY_RECORDS == 0 and time.monotonic() - self._written > _EVERY_SECONDS:
            self.finish(records, kept, 0)

    def finish(self, records: int, kept: int, size: int) -> None:
        """Says it now, and that so many bytes of input are done."""
        self._written = time.monotonic()
        added = {"records": records, "kept": kept, "bytes": size}
        manifest.write_atomic(self._path, json.dumps({key: self._before[key] + added[key] for key in added}))


def total(output: Path, phase: str) -> dict[str, int]:
    """Returns the sums of records, kept documents and bytes over all processes of a phase."""
    sums = {"records": 0, "kept": 0, "bytes": 0}
    for path in (output / "work" / "progress" / phase).glob("*.json"):
        for key, value in _read(path).items():
            sums[key] += value
    return sums


def clear(output: Path) -> None:
    """Forgets all progress; what is finished is known by its receipts."""
    shutil.rmtree(output / "work" / "progress", ignore_errors=True)


def _read(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {"records": 0, "kept": 0, "bytes": 0}
    return json.loads(path.read_text(encoding="utf-8"))
