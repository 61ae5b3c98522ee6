"""Plain text: one document a file, or several, cut at a separator."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lm.common.errors import UserError
from lm.data.readers import compressed

SUFFIXES = (".txt", ".text", ".md", ".rst")
_CHUNK_BYTES = 1 << 20
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class ReadText:
    """Reads UTF-8 text (plain, .gz, .zst); with a `separator`, holds only one piece at a time in memory.

    Pieces lose one line break next to the separator; those with nothing but white space are left out.
    A byte-order mark at the start of the file is not part of the text; everything else is kept as it is.
    """

    separator: str = ""

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        with compressed.open_binary(path) as stream:
            if not self.separator:
                yield id, decode(stream.read(), path)
                return
            for index, (start, raw) in enumerate(_pieces(stream, self.separator.encode())):
                text = decode(raw, path, start).removeprefix("\r\n").removeprefix("\n")
                text = text.removesuffix("\n").removesuffix("\r")
                if text.strip():
                    yield f"{id}:{index}", text


def decode(raw: bytes, path: Path, start: int = 0) -> str:
    """Returns UTF-8 bytes, which lie at byte `start` of the file, as text.

    Raises:
        UserError: NUL bytes or invalid UTF-8, with the offset of the first one.
    """
    if start == 0 and raw.startswith(_UTF16_MARKS):
        raise UserError(f"{path}: UTF-16 text; convert it with `iconv -f UTF-16 -t UTF-8`")
    if (at := raw.find(b"\0")) >= 0:
        raise UserError(f"{path}: a binary file, not text: NUL byte at offset {start + at}; give the format it has")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text: byte 0x{raw[error.start]:02x} at offset {start + error.start}; "
            "convert it with iconv, or give the format it has"
        ) from error
    return text.removeprefix("\ufeff") if start == 0 else text


def _pieces(stream: BinaryIO, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields (byte offset, bytes) of what lies between the separators."""
    pending, start, searched = bytearray(), 0, 0
    while chunk := stream.read(_CHUNK_BYTES):
        pending += chunk
        while (at := pending.find(separator, searched)) >= 0:
            yield start, bytes(pending[:at])
            del pending[: at + len(separator)]
            start, searched = start + at + len(separator), 0
        searched = max(0, len(pending) - len(separator) + 1)  # a separator may straddle two chunks
    yield start, bytes(pending)
