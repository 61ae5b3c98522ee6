"""Wikitext → text: prose, headings and lists; no templates, tables, pictures, references or categories.

The parser backtracks where something is opened and never closed, in the square of the length. What it is given has
therefore been balanced before, in one pass for each kind of mark.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lm.common.errors import UserError

_ALWAYS_HIDDEN = frozenset({"file", "image", "category", "media"})
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:\S")
# Elements whose content is not wikitext, or no prose.
_VERBATIM = ("math", "chem", "nowiki", "pre", "code", "syntaxhighlight", "source")
_FORMULAS = ("math", "chem")
_UNSEEN = ("ref", "gallery", "timeline", "score", "imagemap", "templatedata", "graph", "mapframe", "references")
_ELEMENT = re.compile(rf"<({'|'.join(_VERBATIM + _UNSEEN)})\b[^<>]{{0,500}}>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_BREAK = re.compile(r"<br\b[^<>]{0,100}>|</(?:p|div|li|tr)>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_TEMPLATE = re.compile(r"(\{\{)|\}\}")
_TABLE = re.compile(r"^[ \t:]*(?:(\{\|)|\|\}(?!\}))", re.MULTILINE)
_LINK = re.compile(r"(\[\[)|\]\]")
_ADDRESS = re.compile(r"(\[)(?=[a-z]+:|//)|\]|(\n)")
_BULLET = re.compile(r"^[*#]+[:;]*[ \t]*", re.MULTILINE)
_INDENT = re.compile(r"^[:;]+[ \t]*", re.MULTILINE)
_SWITCH = re.compile(r"__[A-Z]{3,}__|^-{4,}", re.MULTILINE)
_KEPT = re.compile("\ue000(\\d+)\ue001")
_BLANKS = re.compile(r"\n\s*\n\s*")
_MAX_NESTING = 20  # of links, which hold links only as captions of pictures


def plain(wikitext: str, hidden: frozenset[str] = frozenset()) -> str:
    """Returns the prose of a page; `hidden` are the site's names, in lower case, of file and category namespaces."""
    try:
        import mwparserfromhell
    except ImportError as error:
        raise UserError("reading Wikipedia dumps needs mwparserfromhell; pip install 'lm[curate]'") from error

    kept: list[str] = []
    text = _COMMENT.sub("", wikitext.replace("\ue000", "").replace("\ue001", ""))
    text = "".join(_set_aside(text, kept))
    text = _removed(_removed(text, _TEMPLATE), _TABLE)
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _SWITCH.sub("", _INDENT.sub("", _BULLET.sub("- ", text)))
    code = mwparserfromhell.parse(_balanced(text))
    text = html.unescape("".join(_prose(code.nodes, hidden | _ALWAYS_HIDDEN)))
    text = _KEPT.sub(lambda match: kept[int(match[1])], text)
    lines = "\n".join(line.strip() for line in text.split("\n"))
    return _BLANKS.sub("\n\n", lines).strip()


def _set_aside(text: str, kept: list[str]) -> Iterator[str]:
    """Yields what lies between elements that are no wikitext, and marks for those that are put into `kept`."""
    at, unclosed = 0, set()
    for opened in _ELEMENT.finditer(text):
        name = opened[1].lower()
        if opened.start() < at or name in unclosed:
            continue
        end = opened.end()
        if not opened[0].endswith("/>"):
            closed = re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE).search(text, opened.end())
            if not closed:
                unclosed.add(name)
                continue
            end = closed.end()
            content = text[opened.end() : closed.start()]
        yield text[at : opened.start()]
        at = end
        if name in _VERBATIM and not opened[0].endswith("/>"):
            kept.append(f"${content.strip()}$" if name in _FORMULAS else html.unescape(content))
            yield f"\ue000{len(kept) - 1}\ue001"
    yield text[at:]


def _removed(text: str, mark: re.Pattern[str]) -> str:
    """Removes what stands between an opening mark (the pattern's group) and its closing one, and marks without."""
    begun: list[int] = []
    spans: list[tuple[int, int]] = []
    for match in mark.finditer(text):
        if match[1]:
            begun.append(match.start())
        elif begun:
            begin = begun.pop()
            while spans and spans[-1][0] > begin:
                spans.pop()
            spans.append((begin, match.end()))
    return mark.sub("", _without(text, spans))


def _balanced(text: str) -> str:
    """Removes the marks of links that are not closed, or nested too deep."""
    begun: list[int] = []
    stray: list[int] = []
    for match in _LINK.finditer(text):
        if match[1]:
            begun.append(match.start())
        elif not begun:
            stray.append(match.start())
        else:
            begin = begun.pop()
            stray += [begin, match.start()] if len(begun) >= _MAX_NESTING else []
    text = _without(text, [(at, at + 2) for at in sorted(stray + begun)])
    stray, opened = [], -1
    for match in _ADDRESS.finditer(text):
        if opened >= 0 and (match[1] or match[2]):
            stray.append(opened)
        opened = match.start() if match[1] else -1
    return _without(text, [(at, at + 1) for at in (stray if opened < 0 else [*stray, opened])])


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Returns a text without spans of it, which are given in their order and do not overlap."""
    kept, at = [], 0
    for begin, end in spans:
        kept.append(text[at:begin])
        at = end
    return "".join(kept) + text[at:]


def _prose(nodes: Iterable[Any], hidden: frozenset[str]) -> Iterator[str]:
    from mwparserfromhell import nodes as kinds

    for node in nodes:
        if isinstance(node, kinds.Wikilink):
            yield from _link(node, hidden)
        elif isinstance(node, kinds.Heading):
            yield f"\n\n{''.join(_prose(node.title.nodes, hidden)).strip()}\n\n"
        elif isinstance(node, kinds.ExternalLink):
            shown = node.title or (None if node.brackets else node.url)
            yield from _prose(shown.nodes if shown else [], hidden)
        elif isinstance(node, kinds.Tag):
            yield from _prose(node.contents.nodes if node.contents else [], hidden)
        elif isinstance(node, kinds.Text | kinds.HTMLEntity):
            yield str(node)


def _link(node: Any, hidden: frozenset[str]) -> Iterator[str]:
    title = str(node.title).strip()
    if title.partition(":")[0].strip().lower() in hidden or (_INTERLANGUAGE.match(title) and node.text is None):
        return
    yield from _prose(node.text.nodes, hidden) if node.text else [title.removeprefix(":")]
