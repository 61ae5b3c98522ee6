"""What `lm curate` made: the documents its manifest lists, under the ids by which `lm trace` finds them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lm.common import manifest
from lm.data.curate import ledger
from lm.data.curate.output import STAGE, files_of
from lm.data.readers.base import Document, File, FileDocuments


def is_curated(root: Path) -> bool:
    """Says whether a folder is the finished output of `lm curate`."""
    path = root / manifest.NAME
    if not path.is_file():
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("stage") == STAGE
    except (ValueError, AttributeError):  # somebody else's manifest.json
        return False


def open_curated(path: str, root: Path) -> FileDocuments[str]:
    """Opens the documents of a finished curation.

    Raises:
        UserError: a listed file is missing or cut short.
    """
    files = tuple(File(file, file.name, ReadCurated()) for file in files_of(root))
    return FileDocuments(path, files, Document)


@dataclass(frozen=True)
class ReadCurated:
    """Reads one file of kept documents; each has the id it had in the crawl."""

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        for record in ledger.read(path):
            yield record["id"], record["text"]
