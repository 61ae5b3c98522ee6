"""Which file is read how, and that no file of a folder is silently left out."""

from __future__ import annotations

import io
import pickle

import pytest

from lm.common.errors import UserError
from lm.data.curate.read import (
    FORMATS,
    Options,
    code,
    jsonl,
    latex,
    list_files,
    pages,
    pdf,
    read,
    tables,
    text,
    warc,
    wikipedia,
)
from lm.data.curate.read.formats import reader

BY_NAME = {
    "CC-MAIN-1.warc.gz": warc, "a.warc": warc, "a.warc.zst": warc, "a.warc.wet.gz": warc, "a.wet": warc,
    "a.html": pages, "A.HTM": pages, "a.html.gz": pages,
    "a.jsonl": jsonl, "a.jsonl.gz": jsonl, "a.jsonl.zst": jsonl, "a.ndjson": jsonl, "a.json": jsonl,
    "a.parquet": tables,
    "a.txt": text, "a.txt.gz": text, "README.md": text,
    "dewiki-pages-articles.xml.bz2": wikipedia, "a.xml": wikipedia,
    "a.tex": latex, "a.tar.gz": latex, "a.tgz": latex, "a.tex.gz": latex,
    "a.pdf": pdf,
    "a.py": code, "x/Makefile": code, "a.CPP": code, "a.rs.zst": code,
}  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_names_tell_the_format(name):
    assert reader(name, Options()).__module__ == BY_NAME[name].__name__


def test_other_files_are_skipped_one_by_one(tmp_path, read_all, reasons):
    for name in ("a.png", "b.gz", "LICENSE"):
        (tmp_path / name).write_bytes(b"x")
    assert reasons(read_all(tmp_path)) == [
        "[skipped: no reader for a name without suffix]", "[skipped: no reader for .png]",
        "[skipped: no reader for .gz]",
    ]  # fmt: skip


def test_a_format_can_be_asked_for(tmp_path, read_all):
    (tmp_path / "a.data").write_bytes(b'{"text": "a"}\n{"text": "b"}')
    assert [record.text for record in read_all(tmp_path, format="jsonl")] == ["a", "b"]
    assert [record.text for record in read_all(tmp_path, format="txt")] == ['{"text": "a"}\n{"text": "b"}']
    assert read_all(tmp_path, format="html")[0].html == b'{"text": "a"}\n{"text": "b"}'
    with pytest.raises(UserError, match="format=made-up: unknown; one of auto, warc"):
        read_all(tmp_path, format="made-up")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data", [b"", b"\0" * 3000, b"\xff\xfe\xfd" * 1000, b"<" * 30_000, b"{" * 30_000])
def test_no_content_breaks_a_reader(tmp_path, read_all, format, data):
    for name in ("a.bin", "a.xml", "a.bin.gz", "a.bin.zst"):
        (tmp_path / name).write_bytes(data)
    read_all(tmp_path, format=format)


def test_pages_are_left_as_they_are_however_deep(tmp_path, read_all):
    page = b"<div>" * 10_000 + b"\0deep\xff" + b"</div>" * 10_000
    (tmp_path / "a.html").write_bytes(page)
    (document,) = read_all(tmp_path)
    assert (document.text, document.html) == ("", page)


def test_options_and_records_travel_between_processes(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (file,) = list_files(str(tmp_path))
    options = pickle.loads(pickle.dumps(Options(text_key="body")))
    assert options == Options(text_key="body")
    records = list(read(file, options, "s"))
    assert pickle.loads(pickle.dumps(records)) == records


@pytest.mark.parametrize("name", ["a.warc.gz", "a.jsonl", "a.parquet", "a.html"])
def test_a_store_that_fails_is_an_error_and_no_damaged_record(tmp_path, monkeypatch, name):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise TimeoutError("the store does not answer")

    (tmp_path / name).write_bytes(b"x" * 1000)
    (file,) = list_files(str(tmp_path))
    monkeypatch.setattr("fsspec.core.OpenFile.open", lambda self: Failing(b"x" * 1000))
    with pytest.raises(TimeoutError):
        list(read(file, Options(), "s"))
