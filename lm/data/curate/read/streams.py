"""Bytes of files, decompressed: what is damaged gives its bytes up to the damage, and says so at the end."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lm.common.errors import UserError
from lm.data.curate.read.files import File

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
_INPUT_BYTES = 1 << 10  # small, as repetitive text may come out thousands of times longer
_CHUNK_BYTES = 1 << 20
_ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` may need


@contextmanager
def open_raw(file: File) -> Iterator[Any]:
    """Opens a file's bytes as they lie, seekable.

    Raises:
        UserError: the file cannot be opened.
    """
    import fsspec

    try:
        source = fsspec.open(file.url, "rb")  # an archive is closed when nobody holds this any more
        opened = source.open()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UserError(f"{file.url}: cannot be opened ({error.strerror or error}); check the input") from error
    with opened:
        yield opened


class Stream(io.BufferedReader):
    """Decompressed bytes to be read in order; once they have ended, `damage` says why they should have gone on."""

    def __init__(self, source: _Inflated | _Plain) -> None:
        super().__init__(source, _CHUNK_BYTES)
        self._source = source

    @property
    def damage(self) -> str:
        """Why the bytes ended too early; empty if they did not."""
        return self._source.damage


@contextmanager
def open_stream(file: File) -> Iterator[Stream]:
    """Opens a file's bytes, decompressed by its suffix (.gz, .bz2, .xz, .zst)."""
    with open_raw(file) as raw:
        yield inflated(raw, compression(file.name))


def inflated(raw: Any, kind: str) -> Stream:
    """Returns the bytes of an open file, decompressed as the suffix `kind` says; as they are if it is empty."""
    return Stream(_Inflated(raw, kind) if kind else _Plain(raw))


def compression(name: str) -> str:
    """Returns the suffix of a file name that names its compression; empty if it has none."""
    lowered = name.lower().replace(".tgz", ".tar.gz")
    return next((suffix for suffix in COMPRESSIONS if lowered.endswith(suffix)), "")


def is_of_the_store(error: Exception) -> bool:
    """Tells whether the machine or the network is to blame for an error, rather than what the file holds.

    Parsers in compiled code raise bare OSErrors for malformed content.
    """
    return isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)


class Piece(NamedTuple):
    """What stands before a separator; `whole` is False if it was too long, and only its beginning is kept."""

    raw: bytes
    whole: bool
    ended: bool


def pieces(stream: Stream, separator: bytes, limit: int) -> Iterator[Piece]:
    """Yields what stands between separators, at most `limit` bytes of each; the last has not `ended` with one.

    A stream that ends too early has such a last piece, empty even, for what is missing.
    """
    pending, searched, whole = bytearray(), 0, True
    overlap = len(separator) - 1  # a separator may straddle two chunks
    while chunk := stream.read(_CHUNK_BYTES):
        pending += chunk
        while (at := pending.find(separator, searched)) >= 0:
            yield Piece(bytes(pending[: min(at, limit)]), whole and at <= limit, True)
            del pending[: at + len(separator)]
            searched, whole = 0, True
        searched = max(0, len(pending) - overlap)
        if searched > limit:
            del pending[limit:searched]
            searched, whole = limit, False
    if pending or stream.damage:
        yield Piece(bytes(pending[:limit]), whole and len(pending) <= limit, False)


class _Plain(io.RawIOBase):
    damage = ""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._raw.read(len(target))
        target[: len(data)] = data
        return len(data)


class _Inflated(io.RawIOBase):
    """Decompresses members one after the other; ends, with a `damage`, where the data are not what they should be."""

    def __init__(self, raw: Any, kind: str) -> None:
        self._raw, self._kind = raw, kind
        self._new, self._errors = decompressor(kind)
        self._member = self._new()
        self._ready, self._rest, self._begun = memoryview(b""), b"", False
        self.damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready and not self.damage:
            compressed = self._rest or self._raw.read(_INPUT_BYTES)
            self._rest = b""
            if not compressed:
                if self._begun:
                    self.damage = f"the file's {self._kind[1:]} data ends too early"
                break
            self._inflate(compressed)
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _inflate(self, compressed: bytes) -> None:
        if not self._begun and not (compressed := compressed.lstrip(b"\0")):  # padding after a member
            return
        self._begun = True
        try:
            self._ready = memoryview(self._member.decompress(compressed))
        except self._errors:
            self.damage = f"the file's {self._kind[1:]} data is damaged from here on"
            return
        if self._member.eof:
            self._rest, self._member, self._begun = self._member.unused_data, self._new(), False


def decompressor(kind: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """Returns what makes a decompressor of one member for a suffix, and the errors of damaged data."""
    if kind == ".gz":
        return lambda: zlib.decompressobj(wbits=31), (zlib.error,)
    if kind == ".bz2":
        return bz2.BZ2Decompressor, (OSError, ValueError)
    if kind == ".xz":
        return lzma.LZMADecompressor, (lzma.LZMAError,)
    try:
        import zstandard
    except ImportError as error:
        raise UserError("reading .zst files needs zstandard; pip install 'lm[curate]'") from error
    factory = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return factory.decompressobj, (zstandard.ZstdError,)
