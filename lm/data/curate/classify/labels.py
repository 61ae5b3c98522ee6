"""Labelled JSON Lines: texts, each with what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.readers.jsonl import ReadJsonl


def fingerprint(path: Path) -> str:
    """Returns 16 hex digits that change when the file does.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give JSON Lines of labelled texts, plain, .gz or .zst")
    return manifest.fingerprint_files([path])


def read(path: Path, text_key: str, label_key: str, positive: str) -> Iterator[tuple[str, int]]:
    """Yields texts and labels of a file, plain or compressed: 1 where a label is `positive` or, without that, true.

    Raises:
        UserError: a line that is no such object, or a label that is neither 0 nor 1 where `positive` is "".
    """
    for number, record in ReadJsonl(text_key).records(path):
        where = f"{path}:{number}"
        if label_key not in record:
            raise UserError(f"{where}: no key {label_key!r}; set label_key to one that exists: {', '.join(record)}")
        yield record[text_key], _label(record[label_key], label_key, positive, where)


def _label(value: Any, key: str, positive: str, where: str) -> int:
    if isinstance(value, list | dict) or value is None:
        raise UserError(f"{where}: {key!r} is {type(value).__name__}, not a label; give every text one")
    if positive:
        return int(str(value) == positive)
    if value not in (0, 1):
        raise UserError(f"{where}: {key!r} is {value!r}, neither 0 nor 1; name what counts as 1 with config.positive")
    return int(value)
