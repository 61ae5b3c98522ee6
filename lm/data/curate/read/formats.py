"""Which reader a file has: by the format that was asked for, else by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from lm.common.errors import UserError
from lm.data.curate.read.code import language
from lm.data.curate.read.code import read as code
from lm.data.curate.read.files import File
from lm.data.curate.read.jsonl import read as jsonl
from lm.data.curate.read.jsonl import read_json
from lm.data.curate.read.latex import read as latex
from lm.data.curate.read.pages import read as html
from lm.data.curate.read.pdf import read as pdf
from lm.data.curate.read.records import Found, Options, Read, Refused
from lm.data.curate.read.streams import COMPRESSIONS
from lm.data.curate.read.tables import read as parquet
from lm.data.curate.read.text import read as txt
from lm.data.curate.read.text import read_book, read_text_or_book
from lm.data.curate.read.warc import read as warc
from lm.data.curate.read.wikipedia import read as wikipedia

_READERS: dict[str, Read] = {
    "warc": warc,
    "html": html,
    "jsonl": jsonl,
    "parquet": parquet,
    "txt": txt,
    "gutenberg": read_book,
    "code": code,
    "wikipedia": wikipedia,
    "latex": latex,
    "pdf": pdf,
}
FORMATS = ("auto", *_READERS)
_SUFFIXES: dict[str, Read] = {
    ".warc": warc,
    ".wet": warc,
    ".html": html,
    ".htm": html,
    ".xhtml": html,
    ".jsonl": jsonl,
    ".ndjson": jsonl,
    ".json": read_json,
    ".parquet": parquet,
    ".pq": parquet,
    ".txt": read_text_or_book,
    ".text": read_text_or_book,
    ".md": txt,
    ".markdown": txt,
    ".rst": txt,
    ".xml": wikipedia,
    ".tex": latex,
    ".tar": latex,
    ".tgz": latex,
    ".pdf": pdf,
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
    return _SUFFIXES.get(suffix) or (code if language(name) else _skip)


def _skip(file: File, options: Options) -> Iterator[Found | Refused]:
    yield Refused(f"skipped: no reader for {PurePosixPath(file.name.lower()).suffix or 'a name without suffix'}")
