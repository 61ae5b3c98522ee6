"""Text files: one document a file, or several, cut at a separator; books without what Project Gutenberg adds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.extract.charset import decode
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, cut, whole
from lm.data.curate.read.streams import open_stream, pieces

_MAX_NULS = 0.01  # of all characters
_START = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^\n]*\n", re.MULTILINE | re.IGNORECASE)
_SMALL_PRINT = re.compile(r"^\*END[* ]THE SMALL PRINT![^\n]*\n", re.MULTILINE | re.IGNORECASE)
_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK|End of (?:the |this )?Project Gutenberg(?:'s)? )",
    re.MULTILINE | re.IGNORECASE,
)
_CREDITS = re.compile(
    r"\s*(?:Produced by|E-text prepared by|This eBook was produced by)[^\n]*(?:\n[^\n]+)*", re.IGNORECASE
)
_FIELD = re.compile(r"^(Title|Author|Release date): *(\S[^\n]*?)\s*$", re.MULTILINE | re.IGNORECASE)
_META = {"title": "title", "author": "author", "release date": "date"}


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields a text file's document, or each piece between separators that is not blank."""
    limit = options.max_record_bytes
    if not options.separator:
        raw = whole(file, limit)
        yield raw if isinstance(raw, Refused) else decoded(raw)
        return
    with open_stream(file) as stream:
        for piece in pieces(stream, options.separator.encode(), limit):
            refused = cut(piece, stream, limit)
            if refused or piece.raw.strip():
                yield refused or decoded(piece.raw.strip(b"\r\n"))


def read_book(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields the book of a Project Gutenberg text file."""
    for record in read(file, options):
        yield book(record) or Refused("no Project Gutenberg marks") if isinstance(record, Found) else record


def read_text_or_book(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields text files' documents, and of those that bear Project Gutenberg's marks the book."""
    for record in read(file, options):
        yield book(record) or record if isinstance(record, Found) else record


def decoded(raw: bytes, charset: str = "", meta: Mapping[str, Any] | None = None) -> Found | Refused:
    """Returns bytes as text: UTF-8, or the declared charset, or what they look like, which `meta` then tells."""
    known = dict(meta or {})
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        try:
            text, known["encoding"] = decode(raw, charset)
        except ImportError as error:
            raise UserError("text that is not UTF-8 needs resiliparse; pip install 'lm[curate]'") from error
    if text.count("\0") > _MAX_NULS * len(text):
        return Refused("binary, not text", raw)
    return Found(text, known)


def book(record: Found) -> Found | None:
    """Returns a book without the header, licence and credits of Project Gutenberg; None if it bears no marks."""
    text = record.text.replace("\r\n", "\n")
    start = _START.search(text) or _SMALL_PRINT.search(text)
    if not start:
        return None
    end = _END.search(text, start.end())
    header, body = text[: start.start()], text[start.end() : end.start() if end else None]
    body = body[preface.end() :] if (preface := _CREDITS.match(body)) else body
    known = {_META[name.lower()]: value for name, value in _FIELD.findall(header)}
    return Found(body.strip("\n") + "\n", {**record.meta, **known})
