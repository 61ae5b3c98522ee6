"""A page as a tree of boxes and the blocks of text in them, read in one pass over its normal form.

The parser (Resiliparse's, which repairs markup as browsers do) writes the page out again with every tag closed and
`<` and `>` escaped in text and attributes; so one regular expression reads it, and no depth of nesting needs recursion.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape

from lm.data.curate.extract.roles import Role, names, role_of

# What the serialiser does not escape. Comments first: one may hold a <script> that nothing closes.
_RAW = re.compile(
    r"<!--.*?-->|<(script|style|xmp|iframe|noembed|noframes|textarea)[ >].*?</\1>|<plaintext[ >].*", re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>([^<]*)</title>")
_HREF = re.compile(r'(?:^| )href="([^"]*)"')
_HOME = re.compile(r"(?:https?://[^/]*)?/?(?:\./)?(?:(?:index|default)\.\w+)?")
_REOPENED = 3  # times that a link is found again, at least, if it was left open
_LONG = 1_000  # an element that is not kept in mind, such as one with a picture in its style
_EMPTY_LINES = re.compile(r"\n{3,}")
_BREAK = "\0"  # of a line; no text holds it, the parser lets none through

_VOID = names("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
_BOXES = names(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 head header hgroup hr legend li main menu nav ol p pre search section summary table "
    "tbody td tfoot th thead tr ul"
)
_ASIDES = names("a abbr b em i small span strong sup")  # inline, and perhaps no part of the sentence

# What an element does. (Numbers, not an Enum: they are compared for every element of every page.)
_NOTHING, _NOTHING_VOID, _SKIPS, _SKIPS_BOX, _OPENS, _LINKS, _BREAKS, _DIVIDES, _ASKS, _LINES = range(10)

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))


@dataclass(slots=True)
class Box:
    """An element that stands on lines of its own: its tag, the place of its parent, and its blocks `start:end`.

    `size` and `linked` are the sums of its blocks.
    """

    tag: str
    parent: int
    start: int
    end: int = -1
    size: int = 0
    linked: int = 0


@dataclass(slots=True)
class Block:
    """A run of text without a box inside: a paragraph, a heading, a list item, a cell, preformatted text.

    `size` is its length in characters, about twice that in dense scripts; `linked` is the size of what stands in
    links; `home` says that one of these leads to the site's front page, and `asks` that something is to be filled in.
    """

    box: int
    tag: str
    pieces: list[str]
    text: str = ""
    size: int = 0
    linked: int = 0
    home: bool = False
    asks: bool = False


@dataclass(slots=True)
class Page:
    """The boxes of a page, each before those inside it, and its blocks in reading order."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def size_of(text: str) -> int:
    """The length of a text in characters, with weight for scripts that say more in each."""
    return len(text) if text.isascii() else (len(text) + len(text.encode())) // 2


def read_page(html: str, doubtful: bool = False) -> Page:
    """Reads a page as the parser wrote it, with or without what is boilerplate by its names."""
    found = _TITLE.search(html)
    page = Page(" ".join(unescape(found[1]).split()) if found else "", [Box("html", 0, 0)])
    boxes, blocks = page.boxes, page.blocks
    begun: list[int] = []  # what each open element did
    at = 0  # the innermost open box
    block: Block | None = None  # takes the text, until a box begins or ends
    links = skipped = 0  # open links; open elements within one that is skipped, itself included
    pre = home = False
    for piece in _RAW.sub("", html).split("<"):
        element, _, text = piece.partition(">")
        if element[:1] == "/":
            if skipped:
                skipped -= 1
            elif not begun or (does := begun.pop()) == _NOTHING:
                pass
            elif does == _OPENS:
                boxes[at].end = len(blocks)
                at, block, pre = boxes[at].parent, None, False
            elif does == _LINKS:
                links -= 1
            elif does == _LINES:
                _new_line(block)
        elif skipped:
            skipped += element.partition(" ")[0] not in _VOID
        else:
            href = ""
            if element[:2] == "a " and (found := _HREF.search(element)):
                href = found[1]
                element = element.replace(found[0], "")  # few are alike with it, which the cache is for
            does = _does(element, doubtful) if len(element) < _LONG else _does.__wrapped__(element, doubtful)
            if does == _NOTHING:
                begun.append(_NOTHING)
            elif does == _OPENS and pre:  # a line of code that is an element
                begun.append(_LINES)
                _new_line(block)
            elif does == _OPENS:
                tag = element.partition(" ")[0]
                boxes.append(Box(tag, at, len(blocks)))
                begun.append(_OPENS)
                at, block, pre = len(boxes) - 1, None, tag == "pre"
            elif does == _SKIPS:
                skipped = 1
            elif does == _SKIPS_BOX:
                skipped, block = 1, None
            elif does == _LINKS and (not href or (href[0] == "#" and boxes[at].tag in HEADINGS)):
                begun.append(_NOTHING)  # an anchor, or a heading's link to itself
            elif does == _LINKS:
                begun.append(_LINKS)
                links += 1
                home = bool(_HOME.fullmatch(href))
            elif does == _DIVIDES:
                block = None
            elif does == _BREAKS and block:
                block.pieces.append(_BREAK)
            elif does == _ASKS and block:
                block.asks = True
        if text and not skipped and (block or not text.isspace()):
            if not block:
                block = Block(at, boxes[at].tag, [])
                blocks.append(block)
            block.pieces.append(text)
            if links:
                block.linked += size_of(text.strip())
                block.home |= home
    _finish(page)
    return page


def without_open_links(html: str) -> str:
    """Makes links that nobody closed plain text: the parser opens such a link again in each box after it."""
    times = Counter(_HREF.findall(html))
    return _HREF.sub(lambda link: "" if times[link[1]] > _REOPENED else link[0], html)


@lru_cache(maxsize=1 << 14)
def _does(element: str, doubtful: bool) -> int:
    """What `<element>` does: its tag and attributes, less the target of a link."""
    tag, _, attributes = element.partition(" ")
    if tag in _VOID:
        return {"br": _BREAKS, "hr": _DIVIDES, "input": _ASKS}.get(tag, _NOTHING_VOID)
    role = role_of(tag, attributes)
    is_box = tag in _BOXES or "-" in tag  # elements of a page's own making are mostly boxes
    if role is Role.SKIPPED or (role is Role.DOUBTFUL and not doubtful and (is_box or tag in _ASIDES)):
        return _SKIPS_BOX if is_box else _SKIPS
    if is_box:
        return _OPENS
    return _LINKS if tag == "a" else _NOTHING


def _new_line(block: Block | None) -> None:
    if block and not block.pieces[-1].endswith("\n"):
        block.pieces.append("\n")


def _finish(page: Page) -> None:
    """Puts the text of the blocks together and adds up what the boxes hold."""
    boxes = page.boxes
    for box in boxes:
        box.end = len(page.blocks) if box.end < 0 else box.end
    for block in page.blocks:
        text = "".join(block.pieces)
        if "&" in text:
            text = unescape(text)
        if block.tag == "pre":
            text = text.replace(_BREAK, "\n").strip("\n").rstrip()
        elif _BREAK in text:
            text = _EMPTY_LINES.sub("\n\n", "\n".join([" ".join(line.split()) for line in text.split(_BREAK)])).strip()
        else:
            text = " ".join(text.split())
        block.text, block.size = text, size_of(text)
        box = boxes[block.box]
        box.size += block.size
        box.linked += block.linked
    for box in reversed(boxes[1:]):
        boxes[box.parent].size += box.size
        boxes[box.parent].linked += box.linked
