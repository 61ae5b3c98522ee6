"""What readers find in files, before it gets its place in the input as its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lm.data.curate.read.files import File
from lm.data.curate.read.streams import Piece, Stream, open_stream

KEPT_BYTES = 4096  # of a record that is too long


@dataclass(frozen=True)
class Options:
    """How files are read.

    `format` is one of `FORMATS`; `text_key` names the key or column of the text in JSONL and parquet; a non-empty
    `separator` cuts each text file into several records. Records longer than `max_record_bytes` are not held in
    memory: they are quarantined.
    """

    format: str = "auto"
    text_key: str = "text"
    separator: str = ""
    max_record_bytes: int = 64 << 20


class Found(NamedTuple):
    """A record that is a document."""

    text: str
    meta: Mapping[str, Any]
    html: bytes = b""


class Refused(NamedTuple):
    """A record that is none: why, and its bytes as far as they are kept.

    The reason is one of few, so that reasons can be counted; it begins with `skipped: ` if the record is sound, but
    no document by its nature.
    """

    reason: str
    raw: bytes = b""


Read = Callable[[File, Options], Iterator[Found | Refused]]


def too_long(limit: int, raw: bytes) -> Refused:
    """Returns what becomes of a record that is longer than the limit, of which its beginning is given."""
    return Refused(f"record longer than {limit} bytes", raw[:KEPT_BYTES])


def whole(file: File, limit: int) -> bytes | Refused:
    """Returns all bytes of a file that is one record, decompressed."""
    with open_stream(file) as stream:
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            return too_long(limit, raw)
        return Refused(stream.damage, raw) if stream.damage else raw


def cut(piece: Piece, stream: Stream, limit: int) -> Refused | None:
    """Returns why a piece of a stream is not a whole record; None if it is one."""
    if not piece.ended and stream.damage:
        return Refused(stream.damage, piece.raw[:KEPT_BYTES] if not piece.whole else piece.raw)
    return None if piece.whole else too_long(limit, piece.raw)
