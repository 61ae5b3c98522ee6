"""JSON Lines: one object a line, its text under a key; and JSON that is one object, or an array of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, cut, whole
from lm.data.curate.read.streams import open_stream, pieces

_UTF8_MARK = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 1 << 16
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
    limit, first = options.max_record_bytes, True
    with open_stream(file) as stream:
        for piece in pieces(stream, b"\n", limit):
            line = piece.raw.removeprefix(_UTF8_MARK) if first else piece.raw
            first = False
            if refused := cut(piece, stream, limit):
                yield refused
            elif line.strip():
                record = _loaded(line, file)
                yield record if isinstance(record, Refused) else found(record, options.text_key, line)


def read_json(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields what a file holds whose name leaves open whether it is JSON Lines: its lines, or objects, or one object.

    What is neither is one record. JSON that is not lines is read whole, so `max_record_bytes` is the limit for all.
    """
    with open_stream(file) as stream:
        lines = _is_lines(stream.read(_SNIFFED_BYTES))
    if lines:
        yield from read(file, options)
        return
    raw = whole(file, options.max_record_bytes)
    if isinstance(raw, Refused):
        yield raw
        return
    value = _loaded(raw.removeprefix(_UTF8_MARK), file)
    if isinstance(value, Refused):
        yield value
    elif isinstance(value, dict):
        yield found(value, options.text_key, raw)
    elif isinstance(value, list) and all(isinstance(record, dict) for record in value):
        yield from (found(record, options.text_key, b"") for record in value)
    else:
        yield Refused("JSON, but not JSON Lines", raw)


def _is_lines(start: bytes) -> bool:
    """Tells by its first line whether JSON is one value a line: one that goes on in the next, or an array, is not."""
    line, ended, _ = start.removeprefix(_UTF8_MARK).lstrip().partition(b"\n")
    goes_on = bool(ended) and line.rstrip().endswith((b"{", b"[", b",", b":"))
    return not goes_on and not line.startswith(b"[")


def _loaded(raw: bytes, file: File) -> Any:
    """Returns a value, or why the bytes are none."""
    try:
        import orjson
    except ImportError as error:
        raise UserError(f"{file.url}: needs orjson; pip install 'lm[curate]'") from error

    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Refused("not UTF-8" if "UTF-8" in error.msg else f"malformed JSON: {_cause(error.msg)}", raw)


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
