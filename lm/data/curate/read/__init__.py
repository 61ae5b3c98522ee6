"""Files → documents: every record of every file, once and in order, as a document or quarantined."""

from __future__ import annotations

from collections.abc import Iterator

from lm.data.curate.document import Document, Quarantined
from lm.data.curate.read.files import File, list_files, units
from lm.data.curate.read.formats import FORMATS, reader
from lm.data.curate.read.records import Found, Options

__all__ = ["FORMATS", "File", "Options", "list_files", "read", "units"]


def read(file: File, options: Options, source: str) -> Iterator[Document | Quarantined]:
    """Yields the records of a file in their order; ids are `NAME#N`, N counting each of them from 0.

    Raises:
        UserError: an unknown format, a file that cannot be opened, a package that is missing.
    """
    for number, record in enumerate(reader(file.name, options)(file, options)):
        id = f"{file.name}#{number}"
        if isinstance(record, Found):
            yield Document(id, record.text, source, record.meta, record.html)
        else:
            yield Quarantined(id, record.reason, record.raw)
