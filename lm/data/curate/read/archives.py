"""Files of tar archives, read in order; what headers claim costs no memory."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Self

from lm.data.curate.read.streams import Stream

_MARK, _MARK_AT = b"ustar", 257
_HEADER_BYTES = 1 << 17  # of one file: names and attributes of any length that file systems have
_MAX_ENDS = 8
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_PAX, _PAX_FOR_ALL = b"\1", b"\2"
_RECORD = re.compile(rb"(\d{1,9}) ([^=\n]{1,255})=")
# What tarfile raises for malformed headers; chains of headers are read by recursion.
_ERRORS = (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError)


class DamagedArchive(ValueError):
    """An archive that is not what its headers say."""


def is_archive(stream: Stream) -> bool:
    """Tells whether a stream is a tar archive, without moving on in it."""
    return stream.peek(_MARK_AT + len(_MARK))[_MARK_AT:].startswith(_MARK)


def files_of(stream: Stream, room: Callable[[str], int]) -> Iterator[tuple[str, bytes]]:
    """Yields the name and content of each file for whose name there is `room`, cut at so many bytes.

    Raises:
        DamagedArchive: a malformed header, or an end that comes too early.
    """
    bounded, path = _Bounded(stream), ""
    try:
        archive = tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Header)  # noqa: SIM115  (it holds but the stream)
        while member := archive.next():
            bounded.end = archive.offset + _HEADER_BYTES
            if member.type == _PAX:
                path = _path(_content(archive, member, _HEADER_BYTES))
            elif member.type != _PAX_FOR_ALL:
                name, path = posixpath.normpath(path or member.name), ""
                if member.isfile() and (limit := room(name)):
                    yield name, _content(archive, member, limit)
            archive.members = []  # type: ignore[attr-defined]  # which would be kept to the end
    except _ERRORS as error:
        raise DamagedArchive from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    content = archive.extractfile(member)
    return content.read(max(0, min(limit, member.size))) if content else b""


def _path(records: bytes) -> str:
    """Returns the path that the records of a pax header give; empty if they give none."""
    at = 0
    while match := _RECORD.match(records, at):
        end = at + int(match[1])
        if match[2] == b"path":
            return records[match.end() : end - 1].decode("utf-8", "surrogateescape")
        at = max(end, match.end())
    return ""


class _Header(tarfile.TarInfo):
    """A header that leaves pax records to us: tarfile holds all of them, in time of the square of their length."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # else it is the end, and not a file that would be lost with all that follow
                raise tarfile.ReadError from error
            raise
        if header.type in _PAX_TYPES:
            header.type = _PAX_FOR_ALL if header.type == tarfile.XGLTYPE else _PAX
        return header


class _Bounded(io.RawIOBase):
    """Bytes of a stream up to `end`, beyond which there would be more headers than a file has.

    tarfile skips what a file is said to hold by reading, for ever if its size is made up: so the end of the stream is
    told only so often.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream, self._at, self._ends = stream, 0, 0
        self.end = _HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._at += len(data)
        self._ends += not data
        if self._at > self.end + size or self._ends > _MAX_ENDS:
            raise tarfile.ReadError
        return data
