"""Papers as LaTeX sources: single files, folders, and the archives that arXiv hands out."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterator, Mapping

from lm.data.curate.read.archives import DamagedArchive, files_of, is_archive
from lm.data.curate.read.files import File
from lm.data.curate.read.latex_parts import SOURCES, Look, neighbours, with_parts
from lm.data.curate.read.latex_text import latex_text
from lm.data.curate.read.pdf import pdf_text
from lm.data.curate.read.records import Found, Options, Refused, too_long, whole
from lm.data.curate.read.streams import Stream, inflated, open_stream
from lm.data.curate.read.text import decoded

_MAIN = re.compile(r"^[^%\n]*\\(?:document(?:class|style)\b|begin\s*\{document\})", re.MULTILINE)
_PLAIN_TEX = re.compile(r"^[^%\n]*\\(?:bye|end)[ \t]*$", re.MULTILINE)
# How arXiv names the submissions in its bulk archives.
_SUBMISSION = re.compile(r"(?:^|/)(?:\d{4}\.\d{4,5}|[a-z.-]+\d{7})(?:v\d+)?\.(?:gz|pdf)$", re.IGNORECASE)
_TOO_DEEP = "LaTeX nested too deep"
_PART = Refused("skipped: part of a LaTeX document")


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields a document with the files it includes; of an archive each document, or each submission that it holds."""
    limit = options.max_record_bytes
    with open_stream(file) as stream:
        if is_archive(stream):
            yield from _archive(stream, limit)
            return
    raw = whole(file, limit)
    yield raw if isinstance(raw, Refused) else _document(_joined(raw, neighbours(file), limit))


def _archive(stream: Stream, limit: int, *, of_submission: bool = False) -> Iterator[Found | Refused]:
    sources: dict[str, bytes] = {}
    left, submissions, damage = limit, 0, ""

    def room(name: str) -> int:
        return limit + 1 if _SUBMISSION.search(name) else left + 1 if name.lower().endswith(SOURCES) else 0

    try:
        for name, raw in files_of(stream, room):
            if _SUBMISSION.search(name):
                submissions += 1
                yield from _submission(name, raw, limit, nested=of_submission)
                continue
            sources[name] = raw
            left -= len(raw)
            if left < 0:
                yield too_long(limit, raw)
                return
    except DamagedArchive:
        damage = "damaged tar archive"
    if damage := stream.damage or damage:
        yield Refused(damage)
    elif sources:
        yield from _papers(sources, limit)
    elif not submissions:
        yield Refused("skipped: an archive without LaTeX")


def _submission(name: str, raw: bytes, limit: int, *, nested: bool) -> Iterator[Found | Refused]:
    if len(raw) > limit:
        yield too_long(limit, raw)
        return
    if name.lower().endswith(".pdf"):
        yield pdf_text(raw)
        return
    with inflated(io.BytesIO(raw), ".gz") as stream:
        if is_archive(stream):
            yield from [Refused(_TOO_DEEP, raw)] if nested else _archive(stream, limit, of_submission=True)
            return
        source = stream.read(limit + 1)
        if len(source) > limit:
            yield too_long(limit, source)
        else:
            yield Refused(stream.damage, raw) if stream.damage else _document(_joined(source, _within({}, ""), limit))


def _papers(sources: Mapping[str, bytes], limit: int) -> Iterator[Found | Refused]:
    """Yields each source that is a document; the others are what these include.

    All together are no longer than the limit, however often they include each other.
    """
    documents, room = 0, limit
    for name, raw in sorted(sources.items()):
        source = _joined(raw, _within(sources, posixpath.dirname(name)), room)
        if source == _PART:
            continue
        documents += 1
        room -= len(source.text) if isinstance(source, Found) else 0
        yield _document(source)
    if not documents:
        yield Refused("skipped: an archive without a LaTeX document")


def _within(sources: Mapping[str, bytes], folder: str) -> Look:
    return lambda name, limit: sources.get(posixpath.join(folder, name))


def _joined(raw: bytes, look: Look, room: int) -> Found | Refused:
    """Returns a document's source and those of its parts as one."""
    source = decoded(raw)
    if isinstance(source, Refused):
        return source
    if not _MAIN.search(source.text) and not _PLAIN_TEX.search(source.text):
        return _PART
    joined = with_parts(source.text, look, room)
    return joined if isinstance(joined, Refused) else source._replace(text=joined)


def _document(source: Found | Refused) -> Found | Refused:
    document = latex_text(source.text) if isinstance(source, Found) else source
    if isinstance(source, Found) and isinstance(document, Found):
        return document._replace(meta={**source.meta, **document.meta})
    return document
