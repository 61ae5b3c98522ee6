"""Which reader a file has: by the format that was asked for, else by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from lm.common.errors import UserError
from lm.data.curate.read import code, jsonl, latex, pages, pdf, tables, text, warc, wikipedia
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Read, Refused
from lm.data.curate.read.streams import COMPRESSIONS

_READERS: dict[str, Read] = {
    "warc": warc.read,
    "html": pages.read,
    "jsonl": jsonl.read,
    "parquet": tables.read,
    "txt": text.read,
    "gutenberg": text.read_book,
    "code": code.read,
    "wikipedia": wikipedia.read,
    "latex": latex.read,
    "pdf": pdf.read,
}
FORMATS = ("auto", *_READERS)
_SUFFIXES: dict[str, Read] = {
    ".warc": warc.read,
    ".wet": warc.read,
    ".html": pages.read,
    ".htm": pages.read,
    ".xhtml": pages.read,
    ".jsonl": jsonl.read,
    ".ndjson": jsonl.read,
    ".json": jsonl.read,
    ".parquet": tables.read,
    ".pq": tables.read,
    ".txt": text.read_text_or_book,
    ".text": text.read_text_or_book,
    ".md": text.read,
    ".markdown": text.read,
    ".rst": text.read,
    ".xml": wikipedia.read,
    ".tex": latex.read,
    ".tar": latex.read,
    ".tgz": latex.read,
    ".pdf": pdf.read,
}


def reader(name: str, options: Options) -> Read:
    """Returns the reader of a file by its name, or that of the format asked for.

    With `auto`, a file that no reader is for is one record, skipped.

    Raises:
        UserError: an unknown format.
    """
    if options.format not in FORMATS:
        raise UserError(f"format={options.format}: unknown; one of {', '.join(FORMATS)}")
    if options.format != "auto":
        return _READERS[options.format]
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    return _SUFFIXES.get(suffix) or (code.read if code.language(name) else _skip)


def _skip(file: File, options: Options) -> Iterator[Found | Refused]:
    yield Refused(f"skipped: no reader for {PurePosixPath(file.name.lower()).suffix or 'a name without suffix'}")
