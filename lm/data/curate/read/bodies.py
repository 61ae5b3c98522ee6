"""Bodies of HTTP responses as they were sent: chunked and compressed, or labelled so though they no longer are."""

from __future__ import annotations

import io
import re
import zlib

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(?:;[^\r\n]{0,200})?\r?\n")


class BodyError(ValueError):
    """A body that is not what its headers say."""


def decode_body(raw: bytes, transfer: str, coding: str, limit: int) -> bytes:
    """Returns a body without its transfer encoding and content encoding, cut one byte beyond `limit`.

    Many archives keep the headers of a body that they hold decoded: one that does not begin as its encoding begins
    is taken as it is. A compressed body that was cut short gives what there is of it.

    Raises:
        BodyError: damaged data, or an encoding that is not known.
    """
    if "chunked" in transfer.lower() and _CHUNK_SIZE.match(raw):
        raw = _joined(raw)
    for name in reversed(coding.lower().replace(" ", "").split(",")):
        if name in ("gzip", "x-gzip"):
            raw = _inflated(raw, 31, limit) if raw.startswith(b"\x1f\x8b") else raw
        elif name == "deflate":
            raw = _inflated(raw, 15 if raw[:1] == b"\x78" else -15, limit)
        elif name in ("br", "zstd"):
            raw = _read(raw, name, limit)
        elif name not in ("", "identity", "none", "utf-8"):
            raise BodyError("a Content-Encoding that is not known")
    return raw[: limit + 1]


def _joined(raw: bytes) -> bytes:
    """Joins the chunks; the last may be cut short."""
    parts, at = [], 0
    while match := _CHUNK_SIZE.match(raw, at):
        size = int(re.split(rb"[; \t\r\n]", match[0], maxsplit=1)[0], 16)
        if size == 0:
            break
        parts.append(raw[match.end() : match.end() + size])
        at = match.end() + size
        at += 2 if raw[at : at + 2] == b"\r\n" else 1
    else:
        if at < len(raw):
            raise BodyError("damaged chunked body")
    return b"".join(parts)


def _inflated(raw: bytes, window: int, limit: int) -> bytes:
    member = zlib.decompressobj(wbits=window)
    try:
        return member.decompress(raw, limit + 1)
    except zlib.error as error:
        raise BodyError("damaged compressed body") from error


def _read(raw: bytes, name: str, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader, ZstdReader

    try:
        return (BrotliReader if name == "br" else ZstdReader)(io.BytesIO(raw)).read(limit + 1)
    except OSError as error:
        raise BodyError("damaged compressed body") from error
