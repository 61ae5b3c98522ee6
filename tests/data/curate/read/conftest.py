"""Reads inputs whole: every record once, with the ids that its place gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lm.data.curate.document import Document, Quarantined
from lm.data.curate.read import Options, list_files, read

Records = list[Document | Quarantined]


@pytest.fixture
def read_all() -> Callable[..., Records]:
    def read_all(pattern: str | Path, **options: object) -> Records:
        found: Records = []
        for file in list_files(str(pattern)):
            records = list(read(file, Options(**options), "source"))
            assert [record.id for record in records] == [f"{file.name}#{n}" for n in range(len(records))]
            assert records == list(read(file, Options(**options), "source")), "a second pass must give the same"
            found += records
        for record in found:
            if isinstance(record, Document):
                assert record.source == "source"
                assert json.loads(json.dumps(record.meta)) == record.meta
        return found

    return read_all


@pytest.fixture
def reasons() -> Callable[[Records], list[str]]:
    """Gives what became of each record: its text, or the reason in brackets."""

    def reasons(records: Records) -> list[str]:
        return [record.text if isinstance(record, Document) else f"[{record.reason}]" for record in records]

    return reasons
