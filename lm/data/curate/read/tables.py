"""Parquet: rows of a table, a batch at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read import jsonl
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, too_long
from lm.data.curate.read.streams import is_of_the_store, open_raw

_ROWS = 256
_BATCH_BYTES = 16 << 20  # of text, by the average of its row group
_REPEATED_BYTES = 2 << 30  # of text, should each row repeat all that its row group holds
_REPEATING = frozenset({"RLE_DICTIONARY", "PLAIN_DICTIONARY", "DELTA_BYTE_ARRAY"})


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields each row; of a row group that is damaged, each row that could not be read."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{file.url}: needs pyarrow; pip install 'lm[curate]'") from error

    with open_raw(file) as raw:
        try:
            table = pyarrow.parquet.ParquetFile(raw, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as error:
            if is_of_the_store(error):
                raise
            yield Refused("not a whole parquet file")
            return
        names = table.schema_arrow.names
        if options.text_key not in names:
            reason = f"no column {options.text_key!r} among {', '.join(names)}"
            yield from (Refused(reason) for _ in range(table.metadata.num_rows))
            return
        columns = [options.text_key, *(name for name in names if name in jsonl.COLUMNS and name != options.text_key)]
        for group in range(table.num_row_groups):
            left = table.metadata.row_group(group).num_rows
            try:
                rows = _rows_at_once(table.metadata.row_group(group), options.text_key)
                for batch in table.iter_batches(rows, row_groups=[group], columns=columns):
                    left -= batch.num_rows
                    yield from _rows(batch, options)
            except (pyarrow.ArrowException, OSError) as error:
                if is_of_the_store(error):
                    raise
                yield from (Refused("in a damaged parquet row group") for _ in range(left))


def _rows_at_once(group: Any, text_key: str) -> int:
    """Returns how many rows of a row group are decoded at once, fewer where they may be large."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    rows = _BATCH_BYTES * group.num_rows // max(1, sum(chunk.total_uncompressed_size for chunk in chunks))
    for chunk in chunks:
        if chunk.path_in_schema == text_key and _REPEATING.intersection(chunk.encodings):
            rows = min(rows, _REPEATED_BYTES // max(1, chunk.total_uncompressed_size))
    return max(1, min(rows, _ROWS))


def _rows(batch: Any, options: Options) -> Iterator[Found | Refused]:
    columns = {name: _readable(batch.column(name)) for name in batch.schema.names}
    texts, large = columns[options.text_key], batch.nbytes > options.max_record_bytes
    for row in range(batch.num_rows):
        yield (large and _too_long(texts[row], options.max_record_bytes)) or _row(columns, row, options)


def _readable(column: Any) -> Any:
    """Returns a column as it is; of dates in nanoseconds, which Python does not know, the microseconds."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    return column


def _too_long(text: Any, limit: int) -> Refused | None:
    """Returns what becomes of a text that is longer than the limit, which is not decoded."""
    raw = text.as_buffer() if hasattr(text, "as_buffer") else None
    return too_long(limit, raw[:limit].to_pybytes()) if raw is not None and len(raw) > limit else None


def _row(columns: Mapping[str, Any], row: int, options: Options) -> Found | Refused:
    try:
        record = {name: _plain(column[row].as_py()) for name, column in columns.items()}
    except UnicodeDecodeError:
        return Refused("not UTF-8")
    except (ValueError, OverflowError, KeyError):  # dates that Python does not know, unknown zones
        return Refused("a value that cannot be read")
    return jsonl.found(record, options.text_key, b"")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date) else value
