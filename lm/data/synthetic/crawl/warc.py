"""WARC records as crawlers write them (ISO 28500), a gzip member each; the bytes follow from the arguments alone."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import BinaryIO

_LEVEL = 4
_WINDOW = 16 + 12  # a gzip header, and 4 kB to look back: set up in a third of the time, and pages hardly grow
_MEMORY = 5
_HTTP = "application/http; msgtype={}"


def digest(data: bytes) -> str:
    """Returns the labelled SHA-1 that WARC writes for blocks and payloads."""
    return f"sha1:{base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()}"


def http_response(status: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Returns the head of an HTTP response, which says how long its body is."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode()


def record(kind: str, identity: str, date: str, headers: Mapping[str, str], block: bytes) -> bytes:
    """Returns one record, compressed: a WARC head with the block's length, and the block."""
    fields = {
        "WARC-Type": kind,
        "WARC-Date": date,
        "WARC-Record-ID": identity,
        **headers,
        "Content-Length": str(len(block)),
    }
    head = "WARC/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)  # zlib leaves the header's time stamp at 0
    return deflate.compress(head.encode() + block + b"\r\n\r\n") + deflate.flush()


class Writer:
    """Writes one file of a crawl: its warcinfo first, then a request and a response per page."""

    def __init__(self, stream: BinaryIO, name: str, snapshot: str, identity: str, date: str) -> None:
        self._stream = stream
        self._common = {"WARC-Warcinfo-ID": identity, "WARC-IP-Address": "192.0.2.80"}
        self._records = 0
        block = f"isPartOf: {snapshot}\r\nformat: WARC File Format 1.0\r\ndescription: a generated crawl\r\n".encode()
        fields = {"WARC-Filename": name, "Content-Type": "application/warc-fields"}
        self._write("warcinfo", identity, date, fields, block)

    def request(self, url: str, date: str, identity: str, answer: str, block: bytes) -> None:
        """Writes the request that the record `answer` answers."""
        fields = {"WARC-Target-URI": url, "WARC-Concurrent-To": answer, "Content-Type": _HTTP.format("request")}
        self._write("request", identity, date, self._common | fields, block)

    def response(self, url: str, date: str, identity: str, request: str, head: bytes, body: bytes) -> int:
        """Writes a response and returns its index among the records of the file, from 0."""
        fields = {
            "WARC-Target-URI": url,
            "WARC-Concurrent-To": request,
            "WARC-Payload-Digest": digest(body),
            "WARC-Block-Digest": digest(block := head + body),
            "Content-Type": _HTTP.format("response"),
        }
        self._write("response", identity, date, self._common | fields, block)
        return self._records - 1

    def _write(self, kind: str, identity: str, date: str, headers: Mapping[str, str], block: bytes) -> None:
        self._stream.write(record(kind, identity, date, headers, block))
        self._records += 1
