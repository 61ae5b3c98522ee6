"""Opens plain, gzip and zstandard files alike; one that ends too early is an error, never a shorter text."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lm.common.errors import UserError

SUFFIXES = (".gz", ".zst")
_CHUNK_BYTES = 1 << 17
_ZSTD_INPUT_BYTES = 1 << 10  # small, as repetitive text may come out a thousand times longer
_ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` may need


def inner_suffix(path: Path) -> str:
    """Returns the suffix in lower case without that of the compression: `.jsonl` for `a.jsonl.gz`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in SUFFIXES else suffix


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading as decompressed bytes, by its suffix.

    Raises:
        UserError: the compressed data is damaged or ends too early (while reading).
    """
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as raw:
            if suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield cast(BinaryIO, stream)
            elif suffix == ".zst":
                with io.BufferedReader(_ZstdReader(raw), _CHUNK_BYTES) as stream:
                    yield stream
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged gzip data ({error}); copy or download it again") from error


class _ZstdReader(io.RawIOBase):
    """Decompresses zstandard frames one after the other, and insists that the last one ends."""

    def __init__(self, raw: io.BufferedReader) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise UserError(f"{raw.name}: needs zstandard; pip install 'lm[data]'") from error
        self._raw, self._error = raw, zstandard.ZstdError
        self._new_frame = lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._frame = self._new_frame()
        self._ready, self._rest, self._begun = memoryview(b""), b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            compressed = self._rest or self._raw.read(_ZSTD_INPUT_BYTES)
            if not compressed:
                if self._begun:
                    raise UserError(f"{self._raw.name}: zstandard data ends too early; copy or download it again")
                return 0
            try:
                self._ready, self._begun = memoryview(self._frame.decompress(compressed)), True
            except self._error as error:
                raise UserError(f"{self._raw.name}: damaged zstandard data ({error})") from error
            self._rest = b""
            if self._frame.eof:
                self._rest, self._frame, self._begun = self._frame.unused_data, self._new_frame(), False
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
