"""Text readers: records in = records out in every real format, stable ids, and one-line errors."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lm.common.errors import UserError
from lm.data.readers import open_documents

TEXTS = [
    "Hello.\n",
    "",
    " white\tspace ",
    "zwei\r\nZeilen",
    "naïve 漢字 🙂 \u2028 e\u0301",
    'quote " \\ \u0001',
    "x" * 5000,
]


def read(path: Path, **options: str) -> list[tuple[str, str]]:
    documents = open_documents(str(path), **options)
    first = [(document.id, document.text) for document in documents]
    assert first == [(document.id, document.text) for document in documents], "a second pass must give the same"
    assert {document.source for document in documents} == {str(path)} == {documents.name}
    assert len({id for id, _ in first}) == len(first)
    return first


def jsonl(texts: list[str], key: str = "text") -> bytes:
    return b"".join(json.dumps({"n": n, key: text}).encode() + b"\n" for n, text in enumerate(texts))


def error(path: Path | str, **options: str) -> str:
    with pytest.raises(UserError) as caught:
        list(open_documents(str(path), **options))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# txt


def test_a_text_file_is_one_document_kept_as_it_is(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffeins\r\nzwei 漢\n\n".encode())
    assert read(path) == [("a.txt", "eins\r\nzwei 漢\n\n")]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 1 << 20])
def test_a_separator_cuts_wherever_chunks_end(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr("lm.data.readers.text._CHUNK_BYTES", chunk_bytes)
    path = tmp_path / "stories.txt"
    path.write_bytes("one é\n<|end|>\n\ntwo<|end\n<|end|><|end|>\r\nthree\n\r\n<|end|>\n".encode())
    assert read(path, separator="<|end|>") == [
        ("stories.txt:0", "one é"),
        ("stories.txt:1", "\ntwo<|end"),
        ("stories.txt:3", "three\n"),
    ]


def test_joining_the_pieces_gives_the_file(tmp_path):
    texts = [text for text in TEXTS if text.strip() == text and text]
    path = tmp_path / "a.txt"
    path.write_bytes("|".join(texts).encode())
    assert [text for _, text in read(path, separator="|")] == texts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"good\n" * 300_000 + b"\xff bad", "0xff at offset 1500000"),
        (b"text\0more", "NUL byte at offset 4"),
        (b"caf\xc3", "0xc3 at offset 3"),
        ("text".encode("utf-16"), "UTF-16"),
    ],
)
def test_binary_given_as_text_is_named_with_its_offset(tmp_path, content, expected):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert expected in error(path)


def test_offsets_count_from_the_start_of_the_file_also_in_later_pieces(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n---\ntwo\xfe")
    assert "offset 11" in error(path, separator="---")


def test_unknown_suffix_is_read_as_text(tmp_path):
    path = tmp_path / "wiki.valid.tokens"
    path.write_text("= Title =")
    assert read(path) == [("wiki.valid.tokens", "= Title =")]


# JSON Lines


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".gz", lambda raw: gzip.compress(raw[:100]) + gzip.compress(raw[100:])),
        (".zst", zstandard.ZstdCompressor().compress),
        (".zst", lambda raw: zstandard.compress(raw[:100]) + zstandard.compress(raw[100:])),
    ],
    ids=["plain", "gz", "gz-members", "zst", "zst-frames"],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_jsonl_gives_every_record(tmp_path, name, suffix, compress):
    path = tmp_path / (name + suffix)
    path.write_bytes(compress(jsonl(TEXTS)))
    assert read(path) == [(f"{path.name}:{line}", text) for line, text in enumerate(TEXTS, start=1)]


def test_text_files_may_be_compressed_too(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"some text"))
    assert read(path) == [("a.txt.gz", "some text")]


def test_zst_with_a_long_window_is_read(tmp_path):
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, enable_ldm=True)
    path = tmp_path / "a.jsonl.zst"
    with path.open("wb") as raw, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(raw) as stream:
        stream.write(jsonl(TEXTS))
    assert [text for _, text in read(path)] == TEXTS


def test_blank_lines_are_no_records_but_count_in_ids(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}')
    assert read(path) == [("a.jsonl:1", "a"), ("a.jsonl:4", "b")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"text": "cut', "malformed JSON"),
        (b"[1, 2]", "a JSON list"),
        (b'{"title": "t", "body": "b"}', "title, body"),
        (b'{"text": null}', "NoneType, not a string"),
        (b'{"text": ["a"]}', "list, not a string"),
        (b'{"text": "\xff"}', "not UTF-8: byte 0xff at 10"),
        (b'{"text": "\\ud800"}', "surrogate"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, expected):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    message = error(path)
    assert f"{path}:3: " in message
    assert expected in message


def test_escaped_pairs_are_characters(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "\\ud83d\\ude42"}')
    assert read(path) == [("a.jsonl:1", "🙂")]


@pytest.mark.parametrize("lost", [1, 9, 40])
@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_truncated_download_is_an_error_not_a_shorter_text(tmp_path, suffix, compress, lost):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compress(jsonl([str(n) for n in range(1000)]))[:-lost])
    assert "again" in error(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_archive_is_named(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(b"this is not compressed at all")
    assert "damaged" in error(path)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.zst", "parquet", "txt"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    texts = [f"{n} " * 2000 for n in range(4000)]  # 38 MB
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=100)
    elif kind == "txt":
        path.write_text("|".join(texts))
    else:
        raw = jsonl(texts)
        path.write_bytes(zstandard.compress(raw) if kind.endswith("zst") else raw)
    total, count = sum(map(len, texts)), len(texts)
    del texts
    documents = open_documents(str(path), separator="|" if kind == "txt" else "")
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    arrow_bytes = [pa.total_allocated_bytes() - before for _ in documents]
    peak = tracemalloc.get_traced_memory()[1] + max(arrow_bytes)
    tracemalloc.stop()
    assert len(arrow_bytes) == count
    assert peak < total / 4


# parquet and Arrow


@pytest.mark.parametrize("column_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_gives_every_row_of_every_group(tmp_path, column_type):
    path = tmp_path / "a.parquet"
    table = pa.table({"n": range(len(TEXTS)), "text": pa.array(TEXTS).cast(column_type)})
    pq.write_table(table, path, row_group_size=3)
    assert read(path) == [(f"a.parquet:{n // 3}:{n % 3}", text) for n, text in enumerate(TEXTS)]


def test_parquet_rows_are_numbered_through_a_large_group(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [str(n) for n in range(5000)]}), path)
    assert read(path) == [(f"a.parquet:0:{n}", str(n)) for n in range(5000)]


@pytest.mark.parametrize("opener", [pa.ipc.new_file, pa.ipc.new_stream], ids=["file", "stream"])
def test_arrow_gives_every_row_of_every_batch(tmp_path, opener):
    table = pa.table({"text": TEXTS, "n": range(len(TEXTS))})
    path = tmp_path / "data-00000-of-00001.arrow"
    with path.open("wb") as raw, opener(raw, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    assert read(path) == [(f"{path.name}:{n // 3}:{n % 3}", text) for n, text in enumerate(TEXTS)]


def table_bytes(kind: str, table: pa.Table) -> bytes:
    raw = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, raw)
    else:
        with pa.ipc.new_stream(raw, table.schema) as writer:
            writer.write_table(table)
    return raw.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"body": ["a"], "title": ["b"]}, "no column 'text'; set the key to one that exists: body, title"),
        ({"text": [1]}, "int64, not string"),
        ({"text": ["a", None]}, ":0:1: 'text' is null"),
        ({"text": pa.array([], pa.string())}, "not a single document"),
        (
            {"text": pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())},
            ":0:0: 'text' is not valid UTF-8",
        ),
    ],
)
def test_a_bad_table_is_named(tmp_path, kind, column, expected):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(table_bytes(kind, pa.table(column)))
    assert expected in error(path)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_truncated_table_is_named(tmp_path, kind):
    raw = table_bytes(kind, pa.table({"text": [str(n) for n in range(10_000)]}))
    path = tmp_path / f"a.{kind}"
    for size in (3, len(raw) // 2, len(raw) - 300):
        path.write_bytes(raw[:size])
        assert "not a whole file of its format" in error(path)


# what every reader shares


@pytest.mark.parametrize("path", ["no/such/place", ""])
def test_a_missing_path_is_named(path):
    assert "no such file or folder" in error(path)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_an_empty_file_is_named(tmp_path, name):
    path = tmp_path / name
    path.touch()
    assert "empty" in error(path)


def test_a_file_without_any_record_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n \n")
    assert "not a single document" in error(path)


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"format=csv: unknown; one of auto, txt, jsonl"):
        open_documents(str(tmp_path), format="csv")


def test_a_separator_that_would_do_nothing_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(TEXTS))
    assert "separator" in error(path, separator="---")


def test_the_fingerprint_follows_the_files_and_how_they_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one|two")
    documents = open_documents(str(path))
    before = documents.fingerprint()
    assert open_documents(str(path)).fingerprint() == before
    assert open_documents(str(path), separator="|").fingerprint() != before
    path.write_text("one|two|three")
    assert documents.fingerprint() != before
    assert documents.size_bytes() == 13


def test_documents_can_be_sent_to_another_process(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(TEXTS))
    (tmp_path / "b.txt").write_text("text")
    documents = open_documents(str(tmp_path), separator="|")
    assert list(pickle.loads(pickle.dumps(documents))) == list(documents)
