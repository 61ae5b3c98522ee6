"""What a curation job is: everything its workers need, as one picklable value."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.config import differences
from lm.common.errors import UserError
from lm.data.curate.document import Step
from lm.data.curate.duplicates import Dedup
from lm.data.curate.read import File, Options, units

# Small inputs are divided as well, so that all workers have something to do; large ones into pieces soon done again.
_UNITS, _LEAST_BYTES, _MOST_BYTES = 64, 1 << 20, 32 << 20
UNITS, CLAIM = "work/units.json", "work/claim.json"


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
        """Divides the input into units of work, which stay the same whoever does them, and returns how many."""
        size = sum(file.bytes for file in files)
        divided = units(files, target_bytes=min(max(size // _UNITS, _LEAST_BYTES), _MOST_BYTES))
        (self.output / UNITS).parent.mkdir(parents=True, exist_ok=True)
        manifest.write_atomic(
            self.output / UNITS, json.dumps([[asdict(file) for file in unit] for unit in divided]) + "\n"
        )
        return len(divided)

    def unit(self, rank: int) -> tuple[File, ...]:
        """Returns the files of a unit."""
        return _units(self.output / UNITS)[rank]


@functools.cache
def _units(path: Path) -> tuple[tuple[File, ...], ...]:
    return tuple(tuple(File(**file) for file in unit) for unit in json.loads(path.read_text(encoding="utf-8")))


def claim(output: Path, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Makes a directory this job's, or finds that it is: what is finished there was made for the same config and input.

    Raises:
        UserError: it holds an unfinished job of another config or input; what differs is named.
    """
    path = output / CLAIM
    if path.is_file():
        made = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"config.{key} {old!r} → {new!r}" for key, old, new in differences(made["config"], config)]
        changed += [f"{key} itself" for key, _, _ in differences(made["inputs"], inputs)]
        if changed:
            raise UserError(
                f"{output}: holds an unfinished curation of another kind (changed: {'; '.join(changed)}); choose "
                f"another --config.output, or delete this one"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_atomic(path, json.dumps({"config": dict(config), "inputs": dict(inputs)}) + "\n")
