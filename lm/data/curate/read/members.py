"""Where records of a web archive begin, to go on behind a damaged one."""

from __future__ import annotations

from typing import Any

from lm.data.curate.read.streams import decompressor

_MAGIC = {b"\x1f\x8b\x08": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_RECORD = b"WARC/"
_PADDING = b"\r\n\0 "
_WINDOW_BYTES = 1 << 16
_PROBE_BYTES = 1 << 10


class Members:
    """The members of a compressed archive (as a rule, one a record), or the records of a plain one."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.size: int = raw.seek(0, 2)
        raw.seek(0)
        self._magic, self._kind = b"\n" + _RECORD, ""
        head = raw.read(4)
        for magic, kind in _MAGIC.items():
            if head.startswith(magic):
                self._magic, self._kind = magic, kind

    def end(self, at: int, start: int) -> int:
        """Returns where the member that holds the record at `at` ends, or where it begins if it has no end.

        `start` is where some member before it begins, for archives whose members hold many records.
        """
        if not self._kind:
            return self._record_end(at)
        begin = at if self._begins(at) else start
        while (end := self._member_end(begin)) is not None and end < at:
            begin = end
        return begin if end is None else end

    def next(self, at: int) -> int:
        """Returns where the first record from `at` on begins, or the size of the archive if none does."""
        at = max(0, at - (not self._kind))  # a plain record's mark has a line end before it
        kept = b""
        while True:
            self._raw.seek(at + len(kept))
            chunk = self._raw.read(_WINDOW_BYTES)
            if not chunk:
                return self.size
            window = kept + chunk
            found = window.find(self._magic)
            while found >= 0:
                begin = at + found + (not self._kind)
                if self._begins(begin):
                    return begin
                found = window.find(self._magic, found + 1)
            kept = window[-len(self._magic) + 1 :]
            at += len(window) - len(kept)

    def is_padding(self, at: int) -> bool:
        """Tells whether nothing but line ends or zeros stands from `at` to the end of the archive."""
        self._raw.seek(at)
        while chunk := self._raw.read(_WINDOW_BYTES):
            if chunk.strip(_PADDING):
                return False
        return True

    def _begins(self, at: int) -> bool:
        """Tells whether a record begins at `at`."""
        self._raw.seek(at)
        head = self._raw.read(_PROBE_BYTES)
        if self._kind:
            new, errors = decompressor(self._kind)
            try:
                head = new().decompress(head)
            except errors:
                return False
        return head.startswith(_RECORD)

    def _member_end(self, begin: int) -> int | None:
        new, errors = decompressor(self._kind)
        member = new()
        self._raw.seek(begin)
        try:
            while chunk := self._raw.read(_PROBE_BYTES):
                member.decompress(chunk)
                if member.eof:
                    return int(self._raw.tell() - len(member.unused_data))
        except errors:
            pass
        return None

    def _record_end(self, at: int) -> int:
        self._raw.seek(at)
        head, _, _ = self._raw.read(_WINDOW_BYTES).partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        return at + len(head) + 4 + length
