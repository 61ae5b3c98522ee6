"""What a curation job is: everything its workers need, as one picklable value."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate.document import Step
from lm.data.curate.duplicates import Dedup
from lm.data.curate.read import File, Options, units

# Small inputs are divided as well, so that all workers have something to do; large ones into pieces soon done again.
_UNITS, _LEAST_BYTES, _MOST_BYTES = 64, 64 << 10, 32 << 20
UNITS = "work/units.json"


@dataclass(frozen=True)
class Job:
    """What is read, what is done to it, and where it goes.

    `before` are the steps ahead of deduplication, `after` those behind it; `observed` is the number of documents of
    a unit of which every rule's value is noted, for the report's histograms.
    """

    output: Path
    source: str
    options: Options
    before: tuple[Step, ...]
    dedup: Dedup | None
    after: tuple[Step, ...]
    observed: int

    def write_units(self, files: tuple[File, ...]) -> int:
        """Divides the input into units of work, which stay the same whoever does them, and returns how many.

        Raises:
            UserError: an earlier attempt has divided it otherwise.
        """
        size = sum(file.bytes for file in files)
        divided = units(files, target_bytes=min(max(size // _UNITS, _LEAST_BYTES), _MOST_BYTES))
        path, text = self.output / UNITS, json.dumps([[asdict(file) for file in unit] for unit in divided]) + "\n"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_atomic(path, text)
        elif path.read_text(encoding="utf-8") != text:
            raise UserError(f"{self.output}: begun by another version of lm; finish it there, or delete it")
        return len(divided)

    def unit(self, rank: int) -> tuple[File, ...]:
        """Returns the files of a unit."""
        return _units(self.output / UNITS)[rank]


@functools.cache
def _units(path: Path) -> tuple[tuple[File, ...], ...]:
    return tuple(tuple(File(**file) for file in unit) for unit in json.loads(path.read_text(encoding="utf-8")))
