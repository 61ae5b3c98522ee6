"""MediaWiki XML dumps, as Wikipedia publishes them: the current text of each article."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote
from xml.etree import ElementTree

from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, cut
from lm.data.curate.read.streams import open_stream, pieces
from lm.data.curate.read.wikitext import plain

_PAGE, _PAGE_END = b"<page>", b"</page>"
_SITE = re.compile(rb"<(?:mediawiki|siteinfo)\b")
_LANGUAGE = re.compile(r'<mediawiki\b[^>]*\bxml:lang="([^"]+)"')
_BASE = re.compile(r"<base>([^<]*/)[^</]*</base>")
_NAMESPACE = re.compile(r'<namespace key="(6|14)"[^>]*>([^<]+)</namespace>')


@dataclass(frozen=True)
class _Site:
    language: str = ""
    base: str = ""
    hidden: frozenset[str] = frozenset()  # what the site calls the namespaces of files and categories


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields each page; redirects and what is no article (talk, templates, categories) are skipped.

    Pages are cut out before they are parsed, so that a malformed one is one quarantined record.
    """
    site, limit, first = _Site(), options.max_record_bytes, True
    with open_stream(file) as stream:
        for piece in pieces(stream, _PAGE_END, limit):
            head, _, page = piece.raw.partition(_PAGE)
            if first:
                first = False
                if not _SITE.search(head):
                    yield Refused("skipped: XML that is no MediaWiki dump")
                    return
                site = _site(head.decode("utf-8", errors="replace"))
            if refused := cut(piece, stream, limit):
                yield refused
            elif piece.ended:
                yield _read_page(page, site)
            elif page or b"</mediawiki>" not in head:
                yield Refused("the dump ends too early", piece.raw)


def _site(head: str) -> _Site:
    language, base = _LANGUAGE.search(head), _BASE.search(head)
    hidden = {name.lower() for _, name in _NAMESPACE.findall(head)}
    return _Site(language[1] if language else "", base[1] if base else "", frozenset(hidden))


def _read_page(raw: bytes, site: _Site) -> Found | Refused:
    try:
        page = ElementTree.fromstring(_PAGE + raw + _PAGE_END)
    except ElementTree.ParseError:
        return Refused("malformed XML", raw)
    if (namespace := page.findtext("ns") or "0") != "0":
        return Refused(f"skipped: not an article, but of namespace {namespace}")
    if page.find("redirect") is not None:
        return Refused("skipped: redirect")
    revisions = page.findall("revision")
    if not revisions:
        return Refused("a page without text", raw)
    if (model := revisions[-1].findtext("model") or "wikitext") != "wikitext":
        return Refused(f"skipped: {model}, not wikitext")
    title = page.findtext("title") or ""
    known = {
        "record": page.findtext("id"),
        "title": title,
        "url": site.base + quote(title.replace(" ", "_"), safe="/:(),!'*") if site.base else "",
        "date": revisions[-1].findtext("timestamp"),
        "language": site.language,
    }
    text = plain(revisions[-1].findtext("text") or "", site.hidden)
    return Found(text, {name: value for name, value in known.items() if value})
