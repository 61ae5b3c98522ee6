"""Token files made elsewhere: every record comes out with its ids, in every layout and integer type."""

from __future__ import annotations

import pickle
import struct
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.common.errors import UserError
from lm.data.readers.tokens import open_token_documents

MEGATRON_DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
END = 7


def read(path: Path, format: str, **options: object) -> list[tuple[str, list[int]]]:
    documents = open_token_documents(str(path), format=format, **options)
    found = [(document.id, document.tokens.tolist()) for document in documents]
    assert {document.source for document in documents} == {str(path)}
    assert len({id for id, _ in found}) == len(found)
    return found


def error(path: Path | str, format: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        list(open_token_documents(str(path), format=format, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_llm_c(path: Path, tokens: list[int], *, magic: int = 20240520, version: int = 1, dtype: str = "<u2") -> None:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens)
    path.write_bytes(header.tobytes() + np.array(tokens, dtype).tobytes())


def write_megatron(prefix: Path, documents: list[list[list[int]]], *, code: int = 8, dtype: str = "") -> None:
    """Writes documents, each a list of sequences, as Megatron's builder does."""
    sequences = [np.array(sequence, dtype or MEGATRON_DTYPES[code]) for document in documents for sequence in document]
    sizes = [sequence.nbytes for sequence in sequences]
    head = struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, code, len(sequences), len(documents) + 1)
    lengths = np.array([len(sequence) for sequence in sequences], "<i4")
    pointers = np.array([0, *accumulate(sizes)][: len(sizes)], "<i8")
    bounds = np.array([0, *accumulate(len(document) for document in documents)], "<i8")
    prefix.with_suffix(".bin").write_bytes(b"".join(sequence.tobytes() for sequence in sequences))
    prefix.with_suffix(".idx").write_bytes(head + lengths.tobytes() + pointers.tobytes() + bounds.tobytes())


# nanoGPT and llm.c


def test_raw_nanogpt_is_one_document_of_all_tokens(tmp_path):
    tokens = [0, 1, 50256, 65535, 3]
    np.array(tokens, np.uint16).tofile(tmp_path / "train.bin")
    assert read(tmp_path / "train.bin", "nanogpt") == [("train.bin", tokens)]


@pytest.mark.parametrize(
    ("magic", "version", "dtype", "largest"), [(20240520, 1, "<u2", 65535), (20240801, 7, "<u4", 128_255)]
)
def test_the_header_of_llm_c_is_not_taken_for_tokens(tmp_path, magic, version, dtype, largest):
    tokens = [5, 0, largest, 2]
    write_llm_c(tmp_path / "train.bin", tokens, magic=magic, version=version, dtype=dtype)
    assert read(tmp_path / "train.bin", "nanogpt") == [("train.bin", tokens)]


@pytest.mark.parametrize("scan_tokens", [1, 2, 3, 1 << 22])
@pytest.mark.parametrize(
    "tokens", [[1, 2, END, 3, END], [END, 1, 2, END, 3], [END, END, 1, 2, END, END, 3, END, END], [1, 2, END, 3]]
)
def test_the_end_id_cuts_documents_whether_it_leads_or_trails(tmp_path, monkeypatch, tokens, scan_tokens):
    monkeypatch.setattr("lm.data.readers.tokens._SCAN_TOKENS", scan_tokens)
    np.array(tokens, np.uint16).tofile(tmp_path / "train.bin")
    found = read(tmp_path / "train.bin", "nanogpt", end_id=END)
    assert [piece for _, piece in found] == [[1, 2], [3]]
    for id, piece in found:
        start = int(id.partition("+")[2] or 0)
        assert tokens[start : start + len(piece)] == piece


def test_records_in_are_records_out_on_a_random_corpus(tmp_path):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 50_000, rng.integers(1, 60)).tolist() for _ in range(300)]
    np.array([token for document in documents for token in [50256, *document]], "<u2").tofile(tmp_path / "train.bin")
    found = read(tmp_path / "train.bin", "nanogpt", end_id=50256)
    assert [tokens for _, tokens in found] == documents


def test_a_folder_of_token_files_is_read_in_sorted_order(tmp_path):
    for name in ("b.bin", "a.bin"):
        write_llm_c(tmp_path / name, [ord(name[0])])
    (tmp_path / "meta.pkl").write_bytes(b"x")
    assert read(tmp_path, "nanogpt") == [("a.bin", [97]), ("b.bin", [98])]
    assert "skipped 1 of another format" in open_token_documents(str(tmp_path), format="nanogpt").describe()


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_truncated_llm_c_file_is_named_with_both_counts(tmp_path, lost):
    path = tmp_path / "train.bin"
    write_llm_c(path, [1, 2, 3])
    path.write_bytes(path.read_bytes()[:-lost])
    message = error(path, "nanogpt")
    assert f"{path}: header says 3 tokens, the file holds {(6 - lost) / 2:g}" in message


def test_an_odd_number_of_bytes_and_an_unknown_version_are_errors(tmp_path):
    path = tmp_path / "train.bin"
    path.write_bytes(b"abc")
    assert f"{path}: 3 bytes" in error(path, "nanogpt")
    write_llm_c(path, [1], version=2)
    assert "version 2 of 20240520" in error(path, "nanogpt")


def test_a_header_without_tokens_is_an_error(tmp_path):
    write_llm_c(tmp_path / "train.bin", [])
    assert "not a single document" in error(tmp_path / "train.bin", "nanogpt")


# Megatron


@pytest.mark.parametrize("code", MEGATRON_DTYPES)
def test_megatron_gives_every_document_in_every_type(tmp_path, code):
    largest = int(np.iinfo(MEGATRON_DTYPES[code]).max)
    documents = [[[1, 2, 3]], [[4], [5, 6]], [[largest]], [[]]]
    write_megatron(tmp_path / "data", documents, code=code)
    expected = [(f"data.idx:{n}", list(chain(*document))) for n, document in enumerate(documents)]
    assert read(tmp_path / "data.idx", "megatron") == expected
    found = next(iter(open_token_documents(str(tmp_path / "data.idx"), format="megatron")))
    assert found.tokens.dtype == MEGATRON_DTYPES[code]


def test_megatron_is_found_by_prefix_by_either_file_and_in_a_folder(tmp_path):
    write_megatron(tmp_path / "corpus_text_document", [[[1, 2]], [[3]]])
    for name in ("corpus_text_document", "corpus_text_document.bin", "corpus_text_document.idx", ""):
        assert [tokens for _, tokens in read(tmp_path / name, "megatron")] == [[1, 2], [3]]


def test_megatron_end_of_document_tokens_can_be_taken_off(tmp_path):
    write_megatron(tmp_path / "data", [[[1, 2, END]], [[3, END]]])
    assert [tokens for _, tokens in read(tmp_path / "data", "megatron", end_id=END)] == [[1, 2], [3]]


def test_megatron_size_and_fingerprint_cover_both_files(tmp_path):
    write_megatron(tmp_path / "data", [[[1, 2]]])
    documents = open_token_documents(str(tmp_path / "data"), format="megatron")
    assert documents.size_bytes() == sum(path.stat().st_size for path in tmp_path.iterdir())
    before = documents.fingerprint()
    (tmp_path / "data.bin").write_bytes(b"\1\0\2\0\3\0")
    assert documents.fingerprint() != before


@pytest.mark.parametrize("lost", [1, 8, 60])
def test_a_truncated_megatron_index_is_named(tmp_path, lost):
    write_megatron(tmp_path / "data", [[[1, 2]], [[3]]])
    path = tmp_path / "data.idx"
    path.write_bytes(path.read_bytes()[:-lost])
    assert str(path) in error(path, "megatron")


def test_truncated_megatron_tokens_are_named_with_both_sizes(tmp_path):
    write_megatron(tmp_path / "data", [[[1, 2]], [[3]]])
    (tmp_path / "data.bin").write_bytes(b"\1\0\2\0\3")
    assert f"{tmp_path / 'data.bin'}: 5 bytes, but data.idx needs 6" in error(tmp_path / "data", "megatron")


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (0, b"X", "MMIDIDX"),
        (9, b"\2", "version 2"),
        (17, b"\x09", "code 9"),
        (17, b"\x07", "float32"),
        (-8, b"\x09", "fit"),
    ],
)
def test_a_megatron_index_that_cannot_be_is_an_error(tmp_path, at, value, expected):
    write_megatron(tmp_path / "data", [[[1, 2, 3, 4]]])
    path = tmp_path / "data.idx"
    raw = bytearray(path.read_bytes())
    raw[at : at + 1 or None] = value
    path.write_bytes(raw)
    (tmp_path / "data.bin").write_bytes(bytes(16))
    assert expected in error(path, "megatron")


def test_a_megatron_index_without_its_tokens_is_an_error(tmp_path):
    write_megatron(tmp_path / "data", [[[1]]])
    (tmp_path / "data.bin").unlink()
    assert "data.bin, are missing" in error(tmp_path / "data", "megatron")


# Arrow and parquet


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "column_type",
    [
        pa.list_(pa.int32()),
        pa.list_(pa.int64()),
        pa.list_(pa.uint16()),
        pa.large_list(pa.int32()),
        pa.list_(pa.int32(), 2),
    ],
    ids=str,
)
def test_tables_give_every_row(tmp_path, kind, column_type):
    rows = [[1, 2], [0, 65535], [3, 4], [5, 6]]
    if not pa.types.is_fixed_size_list(column_type):
        rows[3:] = [[], [9]]
    path = tmp_path / f"a.{kind}"
    table = pa.table({"input_ids": pa.array(rows, column_type)})
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        with path.open("wb") as raw, pa.ipc.new_stream(raw, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    assert read(path, "arrow_tokens") == [(f"a.{kind}:{n // 2}:{n % 2}", row) for n, row in enumerate(rows)]


def test_packed_rows_are_cut_at_the_end_id_under_another_key(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"ids": [[1, 2, END, 3], [4, END]]}), path)
    found = read(path, "arrow_tokens", token_key="ids", end_id=END)
    assert found == [("a.parquet:0:0", [1, 2]), ("a.parquet:0:0+3", [3]), ("a.parquet:0:1", [4])]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"tokens": [[1]]}, "no column 'input_ids'; set the key to one that exists: tokens"),
        ({"input_ids": [1, 2]}, "int64, not lists of integers"),
        ({"input_ids": [[0.5]]}, "not lists of integers"),
        ({"input_ids": [[1], None]}, ":0:1: 'input_ids' is null"),
        ({"input_ids": [[1, None]]}, ":0:0: 'input_ids' is null or holds a null"),
        ({"input_ids": [[1], [3, -100]]}, "record a.parquet:0:1: token 1 is -100"),
    ],
)
def test_a_bad_column_is_named(tmp_path, column, expected):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(column), path)
    message = error(path, "arrow_tokens")
    assert str(path) in message
    assert expected in message


# what they share


def test_negative_ids_are_named_with_their_place(tmp_path):
    write_megatron(tmp_path / "data", [[[1, 2]], [[3, -1]]], code=4)
    assert "record data.idx:1: token 1 is -1" in error(tmp_path / "data", "megatron")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "gguf"}, "format=gguf: unknown token format; one of nanogpt, megatron, arrow_tokens"),
        ({"format": "nanogpt", "end_id": -1}, "end_id=-1"),
        ({"format": "nanogpt"}, "no file ends in .bin"),
        ({"format": "arrow_tokens"}, "no file ends in .parquet"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path, options, expected):
    assert expected in error(tmp_path, **options)


@pytest.mark.parametrize("format", ["nanogpt", "megatron", "arrow_tokens"])
def test_a_missing_path_is_named(tmp_path, format):
    assert f"{tmp_path / 'gone'}" in error(tmp_path / "gone", format)


def test_token_documents_can_be_sent_to_another_process(tmp_path):
    write_llm_c(tmp_path / "train.bin", [1, END, 2])
    documents = open_token_documents(str(tmp_path / "train.bin"), format="nanogpt", end_id=END)
    assert [d.tokens.tolist() for d in pickle.loads(pickle.dumps(documents))] == [[1], [2]]
