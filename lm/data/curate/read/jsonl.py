"""JSON Lines: one object a line, its text under a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, cut
from lm.data.curate.read.streams import open_stream, pieces

_UTF8_MARK = b"\xef\xbb\xbf"
_NESTED = ("metadata", "meta")
# What other collections call the things that `meta` knows.
_KEYS = {
    "id": "record",
    "url": "url",
    "date": "date",
    "timestamp": "date",
    "title": "title",
    "language": "language",
    "licence": "licence",
    "license": "licence",
    "snapshot": "snapshot",
    "dump": "snapshot",
}
COLUMNS = (*_KEYS, *_NESTED)


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields each line that is not blank; blank lines are no records."""
    try:
        import orjson
    except ImportError as error:
        raise UserError(f"{file.url}: needs orjson; pip install 'lm[curate]'") from error

    key, limit, first = options.text_key, options.max_record_bytes, True
    with open_stream(file) as stream:
        for piece in pieces(stream, b"\n", limit):
            line = piece.raw.removeprefix(_UTF8_MARK) if first else piece.raw
            first = False
            if refused := cut(piece, stream, limit):
                yield refused
                continue
            if not line.strip():
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield Refused("not UTF-8" if "UTF-8" in error.msg else f"malformed JSON: {_cause(error.msg)}", line)
                continue
            yield found(record, key, line)


def found(record: Any, key: str, raw: bytes) -> Found | Refused:
    """Returns an object's text and what is known of it, under the names that `meta` has for them."""
    if not isinstance(record, dict):
        return Refused(f"a JSON {type(record).__name__}, not an object", raw)
    text = record.get(key)
    if not isinstance(text, str):
        reason = f"{key!r} is {type(text).__name__}, not a string" if key in record else f"no key {key!r}"
        return Refused(reason, raw)
    meta: dict[str, Any] = {}
    for name in _NESTED:
        if isinstance(record.get(name), dict):
            meta.update(_known(record[name]))
    meta.update(_known(record))
    return Found(text, meta)


def _known(record: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for key, name in _KEYS.items():
        value = record.get(key)
        if value is not None and value != "" and isinstance(value, str | int | float):
            known.setdefault(name, str(value))
    return known


def _cause(message: str) -> str:
    return message.partition(":")[0]
