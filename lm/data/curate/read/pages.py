"""Folders of HTML: one page a file, its bytes left for extraction."""

from __future__ import annotations

from collections.abc import Iterator

from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, whole


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields the page."""
    raw = whole(file, options.max_record_bytes)
    yield raw if isinstance(raw, Refused) else Found("", {"content_type": "text/html"}, raw)
