"""Parquet: every row comes out once, the rows of damaged row groups too."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TEXTS = [f"row {n} " + "naïve 漢" * (n % 7) for n in range(1000)]


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_rows_in_are_records_out(tmp_path, read_all, compression):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet", row_group_size=300, compression=compression)
    assert [record.text for record in read_all(tmp_path)] == TEXTS


def test_what_is_known_of_a_row_is_kept_under_one_name(tmp_path, read_all):
    columns = {"content": ["a"], "id": [7], "url": ["http://a"], "score": [0.5], "date": [datetime.date(2024, 1, 2)]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (document,) = read_all(tmp_path, text_key="content")
    assert document.text == "a"
    assert document.meta == {"record": "7", "url": "http://a", "date": "2024-01-02"}


def test_rows_that_are_no_text_are_put_aside(tmp_path, read_all, reasons):
    pq.write_table(pa.table({"text": ["a", None, "", "x" * 200]}), tmp_path / "a.parquet")
    expected = ["a", "['text' is NoneType, not a string]", "", "[record longer than 100 bytes]"]
    assert reasons(read_all(tmp_path, max_record_bytes=100)) == expected
    assert reasons(read_all(tmp_path, text_key="body")) == ["[no column 'body' among text]"] * 4


def test_the_rows_of_a_damaged_row_group_are_put_aside_and_the_others_read(tmp_path, read_all, reasons):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path, row_group_size=250, compression="zstd", use_dictionary=False)
    at = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[at + 40 : at + 140] = b"\xff" * 100
    path.write_bytes(data)
    expected = TEXTS[:250] + ["[in a damaged parquet row group]"] * 250 + TEXTS[500:]
    assert reasons(read_all(tmp_path)) == expected


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_cut_file_is_one_record_put_aside(tmp_path, read_all, reasons, keep):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path)
    path.write_bytes(path.read_bytes()[:keep])
    assert reasons(read_all(tmp_path)) == ["[not a whole parquet file]"]
