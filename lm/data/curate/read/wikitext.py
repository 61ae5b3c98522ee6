"""Wikitext → text: prose, headings and lists; no templates, tables, pictures, references or categories."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

from lm.common.errors import UserError

_ALWAYS_HIDDEN = frozenset({"file", "image", "category", "media"})
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:\S")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Their content is no prose, or not wikitext. Lengths are bounded: without an end, the search must not go on for ever.
_UNSEEN = re.compile(
    r"<(ref|gallery|timeline|score|imagemap|templatedata|graph|mapframe|section|references)\b(?:[^<>]{0,500}/>|"
    r"[^<>/]{0,500}>.{0,20000}?</\1\s{0,9}>)",
    re.DOTALL | re.IGNORECASE,
)
_VERBATIM = re.compile(
    r"<(math|nowiki|pre|code|syntaxhighlight|source|chem)\b[^<>]{0,500}(?<!/)>(.{0,50000}?)</\1\s{0,9}>",
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(r"<br\b[^<>]{0,100}>|</(?:p|div|li|tr)>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_BULLET = re.compile(r"^[*#]+[:;]*[ \t]*", re.MULTILINE)
_INDENT = re.compile(r"^[:;]+[ \t]*", re.MULTILINE)
_SWITCH = re.compile(r"__[A-Z]{3,}__|^-{4,}", re.MULTILINE)
_TABLE = re.compile(r"^[ \t:]*(?:(\{\|)|\|\}(?!\}))", re.MULTILINE)
_MARK = re.compile("\ue000(\\d+)\ue001")
_BLANKS = re.compile(r"\n\s*\n\s*")


def plain(wikitext: str, hidden: frozenset[str] = frozenset()) -> str:
    """Returns the prose of a page; `hidden` are the site's names, in lower case, of file and category namespaces."""
    try:
        import mwparserfromhell
    except ImportError as error:
        raise UserError("reading Wikipedia dumps needs mwparserfromhell; pip install 'lm[curate]'") from error

    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formula = match[1].lower() in ("math", "chem")
        kept.append(f"${match[2].strip()}$" if formula else match[2])
        return f"\ue000{len(kept) - 1}\ue001"

    text = _VERBATIM.sub(keep, _COMMENT.sub("", wikitext.replace("\ue000", "").replace("\ue001", "")))
    text = _without_tables(text)
    text = _TAG.sub("", _BREAK.sub("\n", _UNSEEN.sub("", text)))
    text = _SWITCH.sub("", _INDENT.sub("", _BULLET.sub("- ", text)))
    code = mwparserfromhell.parse(text, skip_style_tags=False)
    text = "".join(_nodes(code.nodes, hidden | _ALWAYS_HIDDEN))
    text = html.unescape(_MARK.sub(lambda match: kept[int(match[1])], text))
    lines = "\n".join(line.strip() for line in text.split("\n"))
    return _BLANKS.sub("\n\n", lines).strip()


def _without_tables(text: str) -> str:
    """Removes tables, nested ones too; of one without an end, its first mark."""
    begun: list[int] = []
    spans: list[tuple[int, int]] = []
    for match in _TABLE.finditer(text):
        if match[1]:
            begun.append(match.start())
        elif begun:
            begin = begun.pop()
            while spans and spans[-1][0] > begin:
                spans.pop()
            spans.append((begin, match.end()))
    kept, at = [], 0
    for begin, end in spans:
        kept.append(text[at:begin])
        at = end
    return _TABLE.sub("", "".join(kept) + text[at:])


def _nodes(nodes: Iterable[Any], hidden: frozenset[str]) -> Iterable[str]:
    from mwparserfromhell import nodes as kinds

    for node in nodes:
        if isinstance(node, kinds.Wikilink):
            yield from _link(node, hidden)
        elif isinstance(node, kinds.Heading):
            yield "\n\n"
            yield "".join(_nodes(node.title.nodes, hidden)).strip()
            yield "\n\n"
        elif isinstance(node, kinds.ExternalLink):
            yield from _nodes(node.title.nodes if node.title else [] if node.brackets else node.url.nodes, hidden)
        elif isinstance(node, kinds.Tag):
            yield from _nodes(node.contents.nodes if node.contents else [], hidden)
        elif isinstance(node, kinds.Text | kinds.HTMLEntity):
            yield str(node)


def _link(node: Any, hidden: frozenset[str]) -> Iterable[str]:
    title = str(node.title).strip()
    if title.partition(":")[0].strip().lower() in hidden or (_INTERLANGUAGE.match(title) and node.text is None):
        return
    yield from _nodes(node.text.nodes, hidden) if node.text else [title.removeprefix(":")]
