"""JSON Lines: every line that is not blank comes out once, whatever has become of it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tracemalloc

import pytest
import zstandard

TEXTS = [
    "Hello.\n",
    "",
    " white\tspace ",
    "zwei\r\nZeilen",
    "naïve 漢字 🙂 \u2028",
    'quote " \\ \u0001 \u0000',
    "x" * 5000,
]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def lines(texts, **more):
    return b"".join(json.dumps({"text": text, **more}).encode() + b"\n" for text in texts)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSON"])
def test_records_in_are_records_out(tmp_path, read_all, name, suffix):
    (tmp_path / (name + suffix)).write_bytes(COMPRESS[suffix](lines(TEXTS)))
    assert [record.text for record in read_all(tmp_path)] == TEXTS


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_members_are_read_one_after_the_other(tmp_path, read_all, suffix):
    members = [COMPRESS[suffix](lines([text])) for text in TEXTS]
    (tmp_path / f"a.jsonl{suffix}").write_bytes(b"".join(members) + b"\0" * 512)
    assert [record.text for record in read_all(tmp_path)] == TEXTS


def test_line_ends_blank_lines_and_a_byte_order_mark_are_no_records(tmp_path, read_all):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\n  \r\n{"text": "b"}')
    assert [record.text for record in read_all(tmp_path)] == ["a", "b"]


def test_what_is_known_of_a_record_is_kept_under_one_name(tmp_path, read_all):
    record = {
        "text": "t",
        "id": 7,
        "url": "http://a",
        "license": "MIT",
        "timestamp": "2024",
        "metadata": {"title": "T"},
    }
    others = {"score": [1, 2], "language": None, "dump": "CC-MAIN-2024-10"}
    (tmp_path / "a.jsonl").write_bytes(json.dumps(record | others).encode())
    (document,) = read_all(tmp_path)
    assert document.meta == {
        "record": "7", "url": "http://a", "licence": "MIT", "date": "2024", "title": "T", "snapshot": "CC-MAIN-2024-10",
    }  # fmt: skip


def test_malformed_lines_are_put_aside_whole_and_the_others_read(tmp_path, read_all, reasons):
    bad = {
        b'{"text": "a"': "malformed JSON",
        b"[1]": "a JSON list, not an object",
        b'{"other": "a"}': "no key 'text'",
        b'{"text": null}': "'text' is NoneType, not a string",
        b'{"text": "\xff"}': "not UTF-8",
        b'{"text": "\\ud800"}': "malformed JSON",
        b'{"text": "a\0b"}': "malformed JSON",
        b'{"text":' + b"[" * 100_000: "malformed JSON",
    }
    good = b'{"text": "good"}\n'
    (tmp_path / "a.jsonl").write_bytes(good.join(line + b"\n" for line in bad) + good)
    records = read_all(tmp_path)
    assert [record.text for record in records[1::2]] == ["good"] * len(bad)
    assert [record.raw for record in records[::2]] == list(bad)
    for found, expected in zip(reasons(records[::2]), bad.values(), strict=True):
        assert found.startswith(f"[{expected}")
        assert "line 1" not in found, "reasons are counted, so they must not tell places"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.999])
def test_a_cut_file_gives_all_whole_records_and_one_for_the_cut(tmp_path, read_all, suffix, fraction):
    texts = [f"{n} {n * n}" for n in range(5000)]
    data = COMPRESS[suffix](lines(texts))
    (tmp_path / f"a.jsonl{suffix}").write_bytes(data[: int(len(data) * fraction)])
    *documents, cut = read_all(tmp_path)
    assert [document.text for document in documents] == texts[: len(documents)]
    assert cut.reason == f"the file's {suffix[1:]} data ends too early"
    assert lines(texts[len(documents) :]).startswith(cut.raw)


def test_all_that_a_cut_gzip_file_holds_comes_out(tmp_path, read_all):
    import zlib

    data = gzip.compress(lines([f"{n} " * 50 for n in range(5000)]))[:-100]
    whole = zlib.decompressobj(wbits=31).decompress(data).count(b"\n")
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    assert len(read_all(tmp_path)) == whole + 1


def test_damaged_data_end_in_one_record_that_says_so(tmp_path, read_all):
    data = bytearray(gzip.compress(lines([f"{n * n}" for n in range(20_000)])))
    data[len(data) // 2 : len(data) // 2 + 9] = b"\xff" * 9
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    *_, last = read_all(tmp_path)
    assert last.reason == "the file's gz data is damaged from here on"


def test_a_line_that_is_too_long_is_put_aside_without_being_held(tmp_path, read_all, reasons):
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b'{"text": "a"}\n{"text": "')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"text": "b"}\n')
    tracemalloc.start()
    records = read_all(path, max_record_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons(records) == ["a", "[record longer than 1048576 bytes]", "b"]
    assert len(records[1].raw) == 4096
    assert peak < 20 << 20


@pytest.mark.parametrize("length", [99, 100, 101])
def test_the_limit_is_to_the_byte(tmp_path, read_all, reasons, length):
    line = json.dumps({"text": "x" * (length - 12)}).encode()
    assert len(line) == length
    (tmp_path / "a.jsonl").write_bytes(line + b"\n" + line)
    refused = "[record longer than 100 bytes]"
    assert reasons(read_all(tmp_path, max_record_bytes=100)) == 2 * ["x" * (length - 12) if length <= 100 else refused]


def test_many_empty_records_and_duplicate_ids_all_come_out(tmp_path, read_all):
    (tmp_path / "a.jsonl").write_bytes(lines([""] * 20_000, id="same"))
    records = read_all(tmp_path)
    assert len({record.id for record in records}) == len(records) == 20_000


RECORDS = [{"text": "a\n", "id": 1}, {"text": "ü", "meta": {"title": "T"}}]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n\r\n  "])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_json_that_is_an_array_is_a_record_an_object(tmp_path, read_all, indent, mark, suffix):
    (tmp_path / f"a.json{suffix}").write_bytes(COMPRESS[suffix](mark + json.dumps(RECORDS, indent=indent).encode()))
    records = read_all(tmp_path)
    assert [(record.text, record.meta) for record in records] == [("a\n", {"record": "1"}), ("ü", {"title": "T"})]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
def test_json_that_is_one_object_is_one_record(tmp_path, read_all, reasons, indent):
    (tmp_path / "a.json").write_text(json.dumps(RECORDS[0], indent=indent))
    assert reasons(read_all(tmp_path)) == ["a\n"]
    (tmp_path / "a.json").write_text(json.dumps({"name": "package", "files": ["a"] * 99}, indent=indent))
    assert reasons(read_all(tmp_path)) == ["[no key 'text']"]


NEITHER = {
    b"[1,\n2,\n3]": "JSON, but not JSON Lines",
    json.dumps([{"text": "a"}, 1], indent=1).encode(): "JSON, but not JSON Lines",
    b'{\n"text": "a",\n"b"\n}': "malformed JSON",
    b'[\n{"text": "a"},\n{"text": "b"': "malformed JSON",
    b"[" * 100_000: "malformed JSON",
    b'[\n"' + b"x" * 200_000 + b'"]': "record longer than 150000 bytes",
    b'{\n"text": "\xff"}': "not UTF-8",
}


@pytest.mark.parametrize("raw", NEITHER, ids=range(len(NEITHER)))
def test_json_that_cannot_be_read_is_one_record(tmp_path, read_all, raw):
    (tmp_path / "a.json").write_bytes(raw)
    (record,) = read_all(tmp_path, max_record_bytes=150_000)
    assert record.reason.startswith(NEITHER[raw])
    assert raw.startswith(record.raw)


def test_lines_in_a_json_file_are_lines_even_where_the_first_is_malformed(tmp_path, read_all, reasons):
    (tmp_path / "a.json").write_bytes(b'{"text": "a"\n{"text": "b"}\n\n{"text": "c"}')
    assert reasons(read_all(tmp_path))[1:] == ["b", "c"]
    (tmp_path / "a.json").write_bytes(lines(["x" * 200_000, "b"]))
    assert [len(record.text) for record in read_all(tmp_path)] == [200_000, 1]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("length", [1000, 65_527, 200_000])
def test_a_first_line_of_any_length_and_signs_is_a_line(tmp_path, read_all, suffix, length):
    texts = ["{,[:" * length, "b"]
    (tmp_path / f"a.json{suffix}").write_bytes(COMPRESS[suffix](lines(texts)))
    assert [record.text for record in read_all(tmp_path)] == texts
