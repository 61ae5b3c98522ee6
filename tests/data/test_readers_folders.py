"""Folders: walked in one order on every machine, and what is left out is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.common.errors import UserError
from lm.data.readers import open_documents


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def ids(root: Path, **options: str) -> list[str]:
    return [document.id for document in open_documents(str(root), **options)]


def test_a_mixed_folder_gives_all_readable_records_in_sorted_order(tmp_path):
    write(
        tmp_path, {"b.txt": "b", "a/z.jsonl": '{"text": "1"}\n{"text": "2"}\n', "a.md": "a", "c.py": "c", "d.pdf": "%"}
    )
    pq.write_table(pa.table({"text": ["3", "4"]}), tmp_path / "a" / "y.parquet")
    documents = open_documents(str(tmp_path))
    assert [(document.id, document.text) for document in documents] == [
        ("a.md", "a"),
        ("a/y.parquet:0:0", "3"),
        ("a/y.parquet:0:1", "4"),
        ("a/z.jsonl:1", "1"),
        ("a/z.jsonl:2", "2"),
        ("b.txt", "b"),
        ("c.py", "c"),
    ]
    assert "5 files" in documents.describe()
    assert "skipped 1 of another format" in documents.describe()


@pytest.mark.parametrize(
    ("format", "expected"),
    [("txt", ["a.txt"]), ("jsonl", ["b.jsonl:1"]), ("code", ["Makefile", "a.txt", "c.py"]), ("auto", None)],
)
def test_a_format_selects_its_files(tmp_path, format, expected):
    write(tmp_path, {"a.txt": "a", "b.jsonl": '{"text": "b"}', "c.py": "c", "Makefile": "all:"})
    assert ids(tmp_path, format=format) == (expected or ["Makefile", "a.txt", "b.jsonl:1", "c.py"])


def test_code_skips_what_people_did_not_write_and_says_so(tmp_path):
    write(
        tmp_path,
        {
            "src/main.py": "print()",
            "src/empty.py": "",
            "src/latin.c": b"caf\xe9",
            "src/object.c": b"a\0b",
            "src/exactly.py": "#" * 1_000_000,
            "src/table.py": "#" * 1_000_001,
            "src/logo.png": b"\x89PNG",
            ".git/config.py": "x",
            ".hidden.py": "x",
            "node_modules/x/index.js": "x",
            "build/lib/main.py": "x",
            "lm.egg-info/SOURCES.txt": "x",
            "README.md": "read me",
        },
    )
    documents = open_documents(str(tmp_path), format="code")
    assert [document.id for document in documents] == ["README.md", "src/exactly.py", "src/main.py"]
    assert documents.describe().endswith(
        "skipped 1 empty, 3 folder(s) excluded by name, 2 hidden, 2 not UTF-8 text, 1 of another format, 1 over 1 MB"
    )


def test_a_folder_called_build_is_read_when_a_data_format_is_asked_for(tmp_path):
    write(tmp_path, {"build/a.txt": "a", ".hidden.txt": "x"})
    assert ids(tmp_path, format="txt") == ["build/a.txt"]


def test_text_is_not_held_to_the_rules_for_code(tmp_path):
    write(tmp_path, {"long.txt": "a" * 1_000_001})
    assert ids(tmp_path) == ["long.txt"]


def test_binary_text_in_a_folder_is_an_error_that_names_it(tmp_path):
    write(tmp_path, {"a.txt": "a", "sub/b.txt": b"b\0"})
    with pytest.raises(UserError, match=r"sub/b\.txt: a binary file.*offset 1"):
        ids(tmp_path)


@pytest.mark.parametrize("files", [{}, {"a.pdf": "%PDF"}, {".hidden.txt": "x"}, {"a.txt": ""}, {"settings.json": "{}"}])
def test_a_folder_with_nothing_readable_says_what_it_holds(tmp_path, files):
    write(tmp_path, files)
    with pytest.raises(UserError, match=r"0 files.*no file that could be read as text, JSONL, parquet, Arrow or code"):
        ids(tmp_path)


def test_the_order_does_not_depend_on_the_order_of_creation(tmp_path):
    names = ["b/a.txt", "a.txt", "a/b.txt", "a-b.txt", "B.txt", "a/b/c.txt", "ä.txt"]
    first = ids(write(tmp_path / "1", dict.fromkeys(names, "x")))
    second = ids(write(tmp_path / "2", dict.fromkeys(reversed(names), "x")))
    assert first == second == sorted(names)


def test_a_dangling_link_is_counted_and_a_link_to_a_file_is_read(tmp_path):
    write(tmp_path, {"a.txt": "a"})
    os.symlink(tmp_path / "a.txt", tmp_path / "b.txt")
    os.symlink(tmp_path / "gone.txt", tmp_path / "c.txt")
    documents = open_documents(str(tmp_path))
    assert [document.id for document in documents] == ["a.txt", "b.txt"]
    assert "1 not a regular file" in documents.describe()


def test_a_new_file_changes_the_fingerprint(tmp_path):
    write(tmp_path, {"a.txt": "a"})
    before = open_documents(str(tmp_path)).fingerprint()
    write(tmp_path, {"b.txt": "b"})
    assert open_documents(str(tmp_path)).fingerprint() != before


def test_the_key_reaches_every_file_of_a_folder(tmp_path):
    write(tmp_path, {"a.jsonl": json.dumps({"body": "a"})})
    pq.write_table(pa.table({"body": ["b"]}), tmp_path / "b.parquet")
    assert [document.text for document in open_documents(str(tmp_path), text_key="body")] == ["a", "b"]
