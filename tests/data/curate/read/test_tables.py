"""Parquet: every row comes out once, the rows of damaged row groups too."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.data.curate.read import tables

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


def test_the_limit_is_in_bytes_and_to_the_byte(tmp_path, read_all, reasons):
    pq.write_table(pa.table({"text": ["é" * 50, "é" * 50 + "x"]}), tmp_path / "a.parquet")
    assert reasons(read_all(tmp_path, max_record_bytes=100)) == ["é" * 50, "[record longer than 100 bytes]"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+02:00"])
def test_dates_that_cannot_be_read_put_aside_their_rows_alone(tmp_path, read_all, reasons, unit, zone):
    kind = pa.timestamp(unit, zone)
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    distant = 2**62 if unit == "ns" else 1_200_000_000_000 * second  # the years 2116 and 39996
    dates = pa.array([0, 1_700_000_000 * second + second // 7, distant, None], kind)
    pq.write_table(pa.table({"text": ["a", "b", "c", "d"], "date": dates}), tmp_path / "a.parquet")
    records = read_all(tmp_path)
    far = "c" if unit == "ns" else "[a value that cannot be read]"
    assert reasons(records) == ["a", "b", far, "d"]
    assert records[0].meta["date"].startswith("1970-01-01T0")
    assert records[1].meta["date"].startswith("2023-11-1")
    assert "date" not in records[3].meta


def test_a_zone_that_there_is_not_is_no_traceback(tmp_path, read_all, reasons):
    dates = pa.array([0, None], pa.timestamp("us", "Nowhere/At all"))
    pq.write_table(pa.table({"text": ["a", "b"], "date": dates}), tmp_path / "a.parquet")
    assert reasons(read_all(tmp_path)) == ["[a value that cannot be read]", "b"]


def rows_at_once(path):
    return tables._rows_at_once(pq.ParquetFile(path).metadata.row_group(0), "text")


def test_large_rows_are_decoded_a_few_at_a_time(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 100] * 10_000}), path, use_dictionary=False)
    assert rows_at_once(path) == 256
    pq.write_table(pa.table({"text": ["x" * (1 << 20)] * 10}), path, use_dictionary=False)
    assert rows_at_once(path) in (15, 16)
    pq.write_table(pa.table({"text": ["x" * (20 << 20)]}), path, use_dictionary=False)
    assert rows_at_once(path) == 1


def test_a_large_row_that_is_stored_once_for_many_is_not_decoded_for_many(tmp_path):
    path = tmp_path / "a.parquet"
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["x" * (32 << 20)]))
    pq.write_table(pa.table({"text": repeated}, schema=pa.schema({"text": repeated.type})), path)
    assert pq.ParquetFile(path).metadata.row_group(0).total_byte_size < 40 << 20
    assert rows_at_once(path) <= 64


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
