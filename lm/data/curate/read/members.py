"""Where records of a web archive begin, to go on behind a damaged one."""

from __future__ import annotations

import re
from typing import Any

from lm.data.curate.read.streams import decompressor

_MAGIC = {".gz": b"\x1f\x8b\x08", ".zst": b"\x28\xb5\x2f\xfd"}
_RECORD = b"WARC/"
_PADDING = b"\r\n\0 "
_WINDOW_BYTES = 1 << 16
_PROBE_BYTES = 1 << 10
_STEP_BYTES = 32


class Members:
    """The members of a compressed archive (as a rule, one a record), or the records of a plain one."""

    def __init__(self, raw: Any, kind: str) -> None:
        """Takes an open file and the suffix of its compression, as far as its name tells."""
        self._raw = raw
        self.size: int = raw.seek(0, 2)
        raw.seek(0)
        head = raw.read(len(max(_MAGIC.values(), key=len)))
        self._kind = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), kind)
        self._magic = _MAGIC.get(self._kind, b"\n" + _RECORD)

    @property
    def plain(self) -> bool:
        """Whether the archive is not compressed."""
        return not self._kind

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
        return (self._inflated(head) if self._kind else head).startswith(_RECORD)

    def _inflated(self, compressed: bytes) -> bytes:
        """Returns the first bytes of a member, of which only so much is looked at as these need."""
        new, errors = decompressor(self._kind)
        member, head = new(), b""
        try:
            for at in range(0, len(compressed), _STEP_BYTES):
                if len(head) >= len(_RECORD) or member.eof:
                    break
                head += member.decompress(compressed[at : at + _STEP_BYTES])
        except errors:
            return b""
        return head

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
        lengths = re.findall(rb"^content-length:\s*(\d+)", head, re.MULTILINE | re.IGNORECASE)
        end = at + len(head) + 4 + int(lengths[0] if lengths else 0)
        self._raw.seek(end)
        return end + 4 if self._raw.read(4) == b"\r\n\r\n" else end
