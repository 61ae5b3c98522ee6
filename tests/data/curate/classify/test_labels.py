"""Labelled JSON Lines: labels as numbers, truth values or words; what is wrong is told with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lm.common.errors import UserError
from lm.data.curate.classify import labels


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    raw = "".join(json.dumps(record) + "\n" for record in records).encode()
    packed = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)(raw)
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_numbers_and_truth_values(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"text": str(i), "label": label} for i, label in enumerate([0, 1, True, False])])
    assert list(labels.read(path, "text", "label", "")) == [("0", 0), ("1", 1), ("2", 1), ("3", 0)]


def test_other_keys_and_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"body": "a", "is": "toxic"}, {"body": "b", "is": "fine"}])
    assert list(labels.read(path, "body", "is", "toxic")) == [("a", 1), ("b", 0)]


def test_one_of_several_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "label": 4}, {"text": "b", "label": 5}])
    assert list(labels.read(path, "text", "label", "5")) == [("a", 0), ("b", 1)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "a"}, r"a\.jsonl:2: no key 'label'; set label_key to one that exists: text"),
        ({"text": "a", "label": "toxic"}, r"a\.jsonl:2: 'label' is 'toxic', neither 0 nor 1; name what counts as 1"),
        ({"text": "a", "label": 0.5}, r"a\.jsonl:2: 'label' is 0\.5, neither 0 nor 1"),
        ({"text": "a", "label": None}, r"a\.jsonl:2: 'label' is NoneType, not a label"),
        ({"text": "a", "label": [1]}, r"a\.jsonl:2: 'label' is list, not a label"),
        ({"label": 1}, r"a\.jsonl:2: no key 'text'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "fine", "label": 0}, record])
    with pytest.raises(UserError, match=message):
        list(labels.read(path, "text", "label", ""))


def test_the_fingerprint_is_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "label": 0}])
    before = labels.fingerprint(path)
    write(path, [{"text": "ab", "label": 0}])
    assert labels.fingerprint(path) != before
    with pytest.raises(UserError, match=r"b\.jsonl: no such file; give JSON Lines"):
        labels.fingerprint(tmp_path / "b.jsonl")
