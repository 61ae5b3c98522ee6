"""Papers as LaTeX sources: single files, folders, and the archives that arXiv hands out."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping

from lm.data.curate.read.files import File
from lm.data.curate.read.latex_text import latex_text
from lm.data.curate.read.pdf import pdf_text
from lm.data.curate.read.records import Found, Options, Refused, too_long, whole
from lm.data.curate.read.streams import Stream, inflated, open_stream
from lm.data.curate.read.text import decoded

_SOURCES = (".tex", ".ltx", ".latex")
_TAR_MARK, _TAR_MARK_AT = b"ustar", 257
_MAIN = re.compile(r"^[^%\n]*\\(?:document(?:class|style)\b|begin\s*\{document\})", re.MULTILINE)
_PLAIN_TEX = re.compile(r"^[^%\n]*\\(?:bye|end)[ \t]*$", re.MULTILINE)
_INCLUDE = re.compile(r"\\(?:input|include|subfile)(?:\s*\{([^{}\n%]+)\}|[ \t]+([^\s{}\\%]+))")
_COMMENTED = re.compile(r"(?<!\\)%")
# How arXiv names the submissions in its bulk archives.
_SUBMISSION = re.compile(r"(?:^|/)(?:\d{4}\.\d{4,5}|[a-z.-]+\d{7})(?:v\d+)?\.(?:gz|pdf)$", re.IGNORECASE)
_PART = Refused("skipped: part of a LaTeX document")
Look = Callable[[str], bytes | None]


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields a document with the files it includes; of an archive each document, or each submission that it holds."""
    limit = options.max_record_bytes
    with open_stream(file) as stream:
        if _is_archive(stream):
            yield from _archive(stream, limit)
            return
    raw = whole(file, limit)
    yield raw if isinstance(raw, Refused) else _document(raw, _neighbours(file, limit), limit)


def _is_archive(stream: Stream) -> bool:
    return stream.peek(_TAR_MARK_AT + len(_TAR_MARK))[_TAR_MARK_AT:].startswith(_TAR_MARK)


def _archive(stream: Stream, limit: int) -> Iterator[Found | Refused]:
    sources: dict[str, bytes] = {}
    room, submissions, damage = limit, 0, ""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                name = posixpath.normpath(member.name)
                if content and _SUBMISSION.search(name):
                    submissions += 1
                    yield from _submission(name, content.read(limit + 1), limit)
                elif content and name.lower().endswith(_SOURCES):
                    sources[name] = content.read(room + 1)
                    room -= len(sources[name])
                    if room < 0:
                        yield too_long(limit, sources[name])
                        return
    except tarfile.TarError:
        damage = "damaged tar archive"
    if damage := stream.damage or damage:
        yield Refused(damage)
    elif sources:
        yield from _papers(sources, limit)
    elif not submissions:
        yield Refused("skipped: an archive without LaTeX")


def _submission(name: str, raw: bytes, limit: int) -> Iterator[Found | Refused]:
    if len(raw) > limit:
        yield too_long(limit, raw)
    elif name.lower().endswith(".pdf"):
        yield pdf_text(raw)
    else:
        with inflated(io.BytesIO(raw), ".gz") as stream:
            if _is_archive(stream):
                yield from _archive(stream, limit)
                return
            source = stream.read(limit + 1)
            if len(source) > limit:
                yield too_long(limit, source)
            else:
                yield Refused(stream.damage, raw) if stream.damage else _document(source, lambda name: None, limit)


def _papers(sources: Mapping[str, bytes], limit: int) -> Iterator[Found | Refused]:
    """Yields each source that is a document; the others are what these include."""
    documents = 0
    for name, raw in sorted(sources.items()):
        folder = posixpath.dirname(name)
        found = _document(raw, lambda other: sources.get(posixpath.normpath(posixpath.join(folder, other))), limit)  # noqa: B023
        if found != _PART:
            documents += 1
            yield found
    if not documents:
        yield Refused("skipped: an archive without a LaTeX document")


def _document(raw: bytes, look: Look, limit: int) -> Found | Refused:
    source = decoded(raw)
    if isinstance(source, Refused):
        return source
    if not _MAIN.search(source.text) and not _PLAIN_TEX.search(source.text):
        return _PART
    text = _included(source.text, look, limit, set())
    if len(text) > limit:
        return too_long(limit, raw)
    document = latex_text(text)
    return document._replace(meta={**source.meta, **document.meta}) if isinstance(document, Found) else document


def _included(text: str, look: Look, limit: int, seen: set[str]) -> str:
    """Returns a source with the files that it includes in their places, each of them once."""

    def content(match: re.Match[str]) -> str:
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        name = (match[1] or match[2]).strip()
        if _COMMENTED.search(line) or name in seen or posixpath.normpath(name).startswith(("/", "..")):
            return match[0]
        seen.add(name)
        raw = next((raw for raw in (look(name + ".tex"), look(name)) if raw is not None), None)
        part = decoded(raw) if raw is not None else None
        return _included(part.text, look, limit, seen) if isinstance(part, Found) else match[0]

    return _INCLUDE.sub(content, text)


def _neighbours(file: File, limit: int) -> Look:
    """Returns what finds a file next to another one, in the same store."""
    import fsspec

    head, separator, archive = file.url.partition("::")
    folder = head.rpartition("/")[0]

    def look(name: str) -> bytes | None:
        try:
            with fsspec.open(f"{folder}/{posixpath.normpath(name)}{separator}{archive}", "rb") as stream:
                return bytes(stream.read(limit))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError):
            return None

    return look
