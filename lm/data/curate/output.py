"""What a finished curation looks like from outside."""

from __future__ import annotations

from pathlib import Path

from lm.common import manifest

STAGE = "curate"
DOCUMENTS, DROPPED, QUARANTINED = "documents", "dropped", "quarantined"  # folders of ledgers
FACTS = "facts.json"  # what the report draws


def files_of(directory: Path, folder: str = DOCUMENTS) -> list[Path]:
    """Returns the ledgers of a finished curation, in the order of their units.

    Raises:
        UserError: no finished curation there, or a listed file is missing or cut short.
    """
    made = manifest.read(directory, STAGE)
    return [directory / entry.name for entry in made.files if entry.name.startswith(f"{folder}/")]
