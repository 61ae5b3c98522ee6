"""Parquet and Arrow files: batches of one column, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.common.errors import UserError

PARQUET_SUFFIXES = (".parquet", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather")
_FILE_MAGIC = b"ARROW1"
_ROWS = 256


@dataclass(frozen=True)
class ReadParquet:
    """Reads a string column; ids are `file:row group:row in the group`."""

    text_key: str = "text"

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        return _texts(parquet_batches(path, self.text_key), path, id, self.text_key)


@dataclass(frozen=True)
class ReadArrow:
    """Reads a string column of an IPC file or stream; ids are `file:batch:row in the batch`."""

    text_key: str = "text"

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        return _texts(arrow_batches(path, self.text_key), path, id, self.text_key)


def parquet_batches(path: Path, key: str) -> Iterator[tuple[int, int, Any]]:
    """Yields (row group, first row in it, pyarrow array of column `key`), never a whole row group at once.

    Raises:
        UserError: not parquet, damaged, no such column, or pyarrow is missing.
    """
    with _reading(path) as pa:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            _check_column(file.schema_arrow, key, path)
            for group in range(file.num_row_groups):
                row = 0
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=[key]):
                    yield group, row, _plain(pa, batch.column(key))
                    row += batch.num_rows


def arrow_batches(path: Path, key: str) -> Iterator[tuple[int, int, Any]]:
    """Yields (batch, 0, pyarrow array of column `key`) of an IPC file or stream, memory-mapped.

    Raises:
        UserError: not Arrow, damaged, no such column, or pyarrow is missing.
    """
    with _reading(path) as pa, pa.memory_map(str(path)) as source:
        is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        source.seek(0)
        with (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source) as reader:
            _check_column(reader.schema, key, path)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else reader
            for index, batch in enumerate(batches):
                yield index, 0, _plain(pa, batch.column(key))


def is_integer_lists(array: Any) -> bool:
    """Tells whether each row of a pyarrow array is a list of integers, of any width and list type."""
    import pyarrow.types as types

    lists = types.is_list, types.is_large_list, types.is_fixed_size_list
    return any(is_kind(array.type) for is_kind in lists) and types.is_integer(array.type.value_type)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Gives pyarrow, and turns its complaints about the file into the user's."""
    try:
        import pyarrow
    except ImportError as error:
        raise UserError(f"{path}: needs pyarrow; pip install 'lm[data]'") from error
    try:
        yield pyarrow
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's trouble (permissions, a failing disk), not the file's content
        raise UserError(f"{path}: not a whole file of its format ({error}); copy it again, or name another") from error


def _check_column(schema: Any, key: str, path: Path) -> None:
    if key not in schema.names:
        raise UserError(f"{path}: no column {key!r}; set the key to one that exists: {', '.join(schema.names)}")


def _plain(pa: Any, array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _texts(batches: Iterator[tuple[int, int, Any]], path: Path, id: str, key: str) -> Iterator[tuple[str, str]]:
    for group, first, array in batches:
        if str(array.type) not in ("string", "large_string", "string_view"):
            raise UserError(f"{path}: column {key!r} is {array.type}, not string; set another text_key")
        for row, scalar in enumerate(array, start=first):
            where = f"{group}:{row}"
            try:
                text = scalar.as_py()
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{where}: {key!r} is not valid UTF-8; mend or drop that row") from error
            if text is None:
                raise UserError(f"{path}:{where}: {key!r} is null; drop such rows or fill them")
            yield f"{id}:{where}", text
