"""Reads the items of benchmarks from local files, so that training text can be kept clear of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lm.common.errors import UserError
from lm.data.readers import compressed


class Item(NamedTuple):
    """One item: its name (`FILE#N`, N counted from 0) and the passages that would give it away, each by itself."""

    name: str
    passages: tuple[str, ...]


def read_items(path: Path, keys: tuple[str, ...] = (), name: str = "") -> Iterator[Item]:
    """Reads GSM8K, HumanEval, ARC and MMLU as they are published, other JSON Lines by `keys`, or an item a line.

    `.jsonl`/`.json`: a layout known by its keys, or the values of `keys`; `.csv`: MMLU (question, four choices,
    answer); `.txt`: an item a line. Each may end in `.gz` or `.zst`. `name` stands for FILE, else the file's name.

    Raises:
        UserError: another suffix, a record of no known layout, no item at all.
    """
    suffix = compressed.inner_suffix(path)
    if suffix not in _READERS:
        raise UserError(f"{path}: no benchmark file; give one of {', '.join(_READERS)}, or compressed .gz or .zst")
    number = -1
    with compressed.open_binary(path) as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        for number, passages in enumerate(_READERS[suffix](lines, path, keys)):
            yield Item(f"{name or path.name}#{number}", passages)
    if number < 0:
        raise UserError(f"{path}: holds no item; give a benchmark file that does")


def _read_jsonl(lines: io.TextIOWrapper, path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: malformed JSON ({error}); every line must be one object") from error
            passages = _passages(record, keys)
            if passages is None:
                present = ", ".join(record) if isinstance(record, dict) else "none"
                raise UserError(f"{path}:{number}: no known benchmark; name the keys of its text (here: {present})")
            yield passages


def _passages(record: object, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Returns what an item is known by: its question, with and without choices, and its worked answer.

    Solutions in code are left out: most are a loop that many programs have.
    """
    if not isinstance(record, dict):
        return None
    if keys:
        return tuple(_text(record[key]) for key in keys) if all(key in record for key in keys) else None
    if "prompt" in record and "canonical_solution" in record:  # HumanEval
        return (record["prompt"],)
    question: Any = record.get("question")
    choices: Any = record.get("choices")
    if isinstance(question, dict):  # ARC as first published
        question, choices = question.get("stem"), question.get("choices")
    if isinstance(question, str) and choices:
        return question, f"{question} {_text(choices)}"
    if isinstance(question, str) and isinstance(record.get("answer"), str):  # GSM8K
        return question, record["answer"]
    return None


def _text(value: Any) -> str:
    """Returns the text of a value: a string, a list of them, or choices as `{"text": …}` in either order of nesting."""
    if isinstance(value, dict):
        return _text(value.get("text", ""))
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _read_csv(lines: io.TextIOWrapper, path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for row in csv.reader(lines):
        if [cell.lower() for cell in row[:2]] == ["question", "a"]:  # a header, which the published files lack
            continue
        if len(row) < 6:
            raise UserError(f"{path}: a row of {len(row)} cells; MMLU has six: question, four choices, answer")
        yield row[0], " ".join(row[:5])


def _read_lines(lines: io.TextIOWrapper, path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return ((line.strip(),) for line in lines if line.strip())


_READERS = {".jsonl": _read_jsonl, ".json": _read_jsonl, ".csv": _read_csv, ".txt": _read_lines}
