"""Parquet: rows of a table, a batch at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read import jsonl
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, too_long
from lm.data.curate.read.streams import is_of_the_store, open_raw

_ROWS = 256


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
                for batch in table.iter_batches(_ROWS, row_groups=[group], columns=columns):
                    left -= batch.num_rows
                    yield from (_row(batch, row, options) for row in range(batch.num_rows))
            except (pyarrow.ArrowException, OSError) as error:
                if is_of_the_store(error):
                    raise
                yield from (Refused("in a damaged parquet row group") for _ in range(left))


def _row(batch: Any, row: int, options: Options) -> Found | Refused:
    try:
        record = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
    except UnicodeDecodeError:
        return Refused("not UTF-8")
    text = record[options.text_key]
    if isinstance(text, str) and len(text) > options.max_record_bytes:
        return too_long(options.max_record_bytes, text[: options.max_record_bytes].encode())
    return jsonl.found({name: _plain(value) for name, value in record.items()}, options.text_key, b"")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date) else value
