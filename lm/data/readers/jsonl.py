"""JSON Lines, plain or compressed: one object a line, its text under a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.common.errors import UserError
from lm.data.readers import compressed

SUFFIXES = (".jsonl", ".ndjson", ".json")
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ReadJsonl:
    """Reads one line at a time; blank lines are no records, but count as lines in ids and errors."""

    text_key: str = "text"

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        for number, record in self.records(path):
            yield f"{id}:{number}", record[self.text_key]

    def records(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields each object, whose text is sure to be one, with the number of its line from 1."""
        with compressed.open_binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1:
                    line = line.removeprefix(_UTF8_MARK)
                if line.strip():
                    yield number, self._record(line, f"{path}:{number}")

    def _record(self, line: bytes, where: str) -> dict[str, Any]:
        record = _parse(line, where)
        if self.text_key not in record:
            keys = ", ".join(record) or "none"
            raise UserError(f"{where}: no key {self.text_key!r}; set text_key to one that exists: {keys}")
        text = record[self.text_key]
        if not isinstance(text, str):
            raise UserError(f"{where}: {self.text_key!r} is {type(text).__name__}, not a string; set another text_key")
        if b"\\u" in line and not _encodable(text):
            raise UserError(
                f"{where}: {self.text_key!r} holds half a surrogate pair, which is no character; mend or drop it"
            )
        return record


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8: byte 0x{line[error.start]:02x} at {error.start} in this line") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: malformed JSON ({error}); every line must be one whole JSON object") from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: a JSON {type(record).__name__}, not an object; every line must be one object")
    return record


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
