"""What a finished curation looks like from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.data.curate import ledger

STAGE = "curate"
DOCUMENTS, DROPPED, QUARANTINED = "documents", "dropped", "quarantined"  # folders of ledgers
FACTS = "facts.json"  # what the report draws
UNITS = "units.json"  # the input files of each unit of work, whose number its ledgers begin with


def files_of(directory: Path, folder: str = DOCUMENTS) -> list[Path]:
    """Returns the ledgers of a finished curation, in the order of their units.

    Raises:
        UserError: no finished curation there, or a listed file is missing or cut short.
    """
    made = manifest.read(directory, STAGE)
    return [directory / entry.name for entry in made.files if entry.name.startswith(f"{folder}/")]


def find(directory: Path, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the kept documents of some ids, reading only the ledgers they can stand in.

    Raises:
        UserError: as `files_of`, or a damaged ledger.
    """
    units = json.loads((directory / UNITS).read_text(encoding="utf-8"))
    unit_of = {name: f"{number:05d}" for number, names in enumerate(units) for name in names}
    wanted = set(ids)
    stems = {unit_of.get(id.rpartition("#")[0]) for id in wanted}
    ledgers = (path for path in files_of(directory) if path.name.partition("-")[0] in stems)
    return {record["id"]: record for path in ledgers for record in ledger.read(path) if record["id"] in wanted}
