"""Web archives: Common Crawl's WARC and WET files, and those of other crawlers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lm.common.errors import UserError
from lm.data.curate.read.bodies import BodyError, decode_body
from lm.data.curate.read.files import File
from lm.data.curate.read.members import Members
from lm.data.curate.read.records import KEPT_BYTES, Found, Options, Refused, too_long
from lm.data.curate.read.streams import compression, is_of_the_store, open_raw
from lm.data.curate.read.text import decoded

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

_SNAPSHOT = re.compile(r"CC-MAIN-\d{4}(?:-\d{4}|-\d\d)?(?!\d)")
_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_META = {"WARC-Target-URI": "url", "WARC-Date": "date", "WARC-Record-ID": "record", "WARC-Truncated": "truncated"}
_DAMAGED = Refused("damaged WARC record")


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields each record; where the file is damaged, what cannot be read up to the next record that can."""
    try:
        from fastwarc.warc import ArchiveIterator
    except ImportError as error:
        raise UserError(f"{file.url}: needs FastWARC; pip install 'lm[curate]'") from error

    with open_raw(file) as raw:
        members, archive = Members(raw, compression(file.name)), _Archive(file.url, options.max_record_bytes)
        start = 0
        while start < members.size:
            raw.seek(start)
            last, sound = -1, True  # where the last record began, and whether it could be read to its end
            try:
                for record in ArchiveIterator(raw, parse_http=False):
                    last, sound = record.stream_pos, False
                    item = archive.read(record)
                    if item is _DAMAGED:
                        break
                    sound = True
                    yield item
            except OSError as error:
                if is_of_the_store(error):
                    raise
            begin = start if last < 0 else members.end(last, start) if sound else last
            if sound and members.is_padding(begin):
                return
            # Behind a record that could be read, a plain archive is damaged where its length is wrong: with too great a
            # one, it has swallowed others.
            start = members.next((last if members.plain and last >= 0 else begin) + 1)
            raw.seek(begin)
            yield Refused(_DAMAGED.reason, raw.read(max(0, min(start - begin, KEPT_BYTES))))


class _Archive:
    """Tells what the records of one file are; knows the snapshot that it is part of."""

    def __init__(self, url: str, limit: int) -> None:
        self._limit, self._snapshot = limit, _snapshot(url)

    def read(self, record: WarcRecord) -> Found | Refused:
        """Reads a record to its end; returns `_DAMAGED` if that comes too early."""
        if record.headers.get("Content-Length") is None:
            return _DAMAGED
        item = self._item(record)
        record.consume()
        return item if record.reader.tell() == record.content_length else _DAMAGED

    def _item(self, record: WarcRecord) -> Found | Refused:
        kind = str(record.record_type)
        if kind == "response" and record.is_http:
            return self._response(record)
        if kind in ("conversion", "resource"):
            return self._content(record, record.headers.get("Content-Type") or "")
        if kind == "warcinfo" and not self._snapshot:
            self._snapshot = _snapshot(record.reader.read(KEPT_BYTES).decode(errors="replace"))
        return Refused(f"skipped: WARC {kind} record")

    def _response(self, record: WarcRecord) -> Found | Refused:
        try:
            record.parse_http(quirks_mode=True)
        except OSError as error:
            if is_of_the_store(error):
                raise
            return Refused("malformed HTTP header", record.reader.read(KEPT_BYTES))
        headers = record.http_headers
        if headers.status_code != 200:
            return Refused(f"skipped: HTTP status {headers.status_code or 'missing'}")
        declared = headers.get("Content-Type") or record.headers.get("WARC-Identified-Payload-Type") or ""
        coding = headers.get("Transfer-Encoding") or "", headers.get("Content-Encoding") or ""
        return self._content(record, declared, coding)

    def _content(self, record: WarcRecord, declared: str, coding: tuple[str, str] = ("", "")) -> Found | Refused:
        content_type, charset = _content_type(declared)
        if content_type not in _PAGE_TYPES and content_type != "text/plain":
            kind = content_type if _TYPE.fullmatch(content_type) else "missing or malformed"
            return Refused(f"skipped: content type {kind}")
        if record.content_length > self._limit:
            return too_long(self._limit, record.reader.read(KEPT_BYTES))
        raw = record.reader.read()
        try:
            content = decode_body(raw, *coding, self._limit)
        except BodyError as error:
            return Refused(str(error), raw)
        if len(content) > self._limit:
            return too_long(self._limit, content)
        meta = self._meta(record, content_type, charset)
        return Found("", meta, content) if content_type in _PAGE_TYPES else decoded(content, charset, meta)

    def _meta(self, record: WarcRecord, content_type: str, charset: str) -> dict[str, Any]:
        known = {name: record.headers.get(header) for header, name in _META.items()}
        known |= {"snapshot": self._snapshot, "content_type": content_type, "charset": charset}
        return {name: value for name, value in known.items() if value} | {"offset": record.stream_pos}


def _snapshot(text: str) -> str:
    match = _SNAPSHOT.search(text)
    return match[0] if match else ""


def _content_type(declared: str) -> tuple[str, str]:
    """Returns the type and the charset of a Content-Type header, in lower case; empty where there is none."""
    content_type, *parameters = declared.lower().split(";")
    named = (parameter.strip().removeprefix("charset=") for parameter in parameters if "charset=" in parameter)
    return content_type.strip(), next(named, "").strip("\"' ")
