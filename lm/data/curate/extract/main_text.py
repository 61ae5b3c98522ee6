"""Which blocks of a page are its main content.

Shallow features suffice for most of it (Kohlschütter et al., 2010): the length of a block and the share of it that is
links, summed up over the boxes of the page, beside what its authors call those boxes.
"""

from __future__ import annotations

import re

from lm.data.curate.extract.blocks import HEADINGS, Block, Page
from lm.data.curate.extract.roles import names

_GOOD_SIZE = 60  # a paragraph that says something, rather than a label
_GOOD_BOX = 100  # of good text in a box full of links: an article that cites, no menu
_MAIN_SHARE = 0.85  # of the good text, which the main box holds
_LABEL_SIZE = 90  # up to which a line may be about the text instead of in it

_ENDS = tuple(".!?…:;。！？：；।؟۔”»」\"')]")
_ABOUT = re.compile(
    r"\d{1,2}[:.]\d{2}\b|\b(?:19|20)\d\d\b|[|·•»«→←]|\d+ (?:likes?|views?|comments?|votes?|replies)\b|"
    r"\d+ (?:minute|hour|day|week|month|year)s? ago\b|"
    r"^(?:posted|published|updated|written|by|von|par|por|от)\b",
    re.IGNORECASE,
)
_RIGHTS = (
    "all rights reserved|alle rechte vorbehalten|tous droits réservés|todos los derechos reservados|"
    "todos os direitos reservados|tutti i diritti riservati|wszelkie prawa zastrzeżone|все права защищены|版权所有"
)
_NOISE = re.compile(
    rf"©|\(c\) |copyright\b|{_RIGHTS}|skip to\b|(?:advertisement|advertising|anzeige|werbung|publicité|"
    r"publicidad|реклама|広告|广告|廣告)\b|(?:share|print|e-?mail|reply|edit|permalink|quote)\b[^.]{0,12}$|"
    r"(?:read|see|learn) more\b.{0,40}$|was this (?:page|article) helpful",
    re.IGNORECASE,
)
_LEAVING = re.compile(r"\b(?:unsubscribe|abbestellen|se désabonner|darse de baja|отписаться)\b", re.IGNORECASE)
_PRICE = re.compile(r"(?:[£$€¥₹]|[A-Z]{3} )\s?\d[\d.,]*|\d[\d.,]*\s?(?:[£$€₽円]|EUR|USD|GBP|CHF|zł|kr|руб)\.?")
_CONTAINERS = names("html body main article section div td center form blockquote details figure header hgroup")
_ITEMS = frozenset(("li", "dt", "dd", "td", "th", "caption", "summary", "figcaption", "pre"))
_LETTERS = re.compile(r"\W+")


def choose(page: Page, in_data_table: list[bool]) -> list[int]:
    """Returns the places of the blocks of the main content, in reading order.

    Args:
        page: what was read.
        in_data_table: for each box, whether it stands in a table of data; links are part of such.
    """
    blocks = page.blocks
    labels = [_is_label(block) for block in blocks]
    weights = [0 if label else _weight(block) for block, label in zip(blocks, labels, strict=True)]
    dense = _dense(page, weights, in_data_table)
    weights = [0 if dense[block.box] else weight for block, weight in zip(blocks, weights, strict=True)]
    start, end = _main_range(page, weights)
    title = _LETTERS.sub("", page.title).lower()
    kept = []
    for place in range(start, end):
        block = blocks[place]
        if block.tag in HEADINGS:
            heads_text = place + 1 < end and blocks[place + 1].tag not in HEADINGS and weights[place + 1]
            if 2 * block.linked <= block.size or heads_text or _names_page(block, title):
                kept.append(place)
        elif not dense[block.box] and not labels[place]:
            kept.append(place)
    kept = _without_orphans(page, kept)
    heading = _heading_before(page, start, kept, title)
    below = [place for place in range(heading[0] + 1, start) if weights[place]] if heading else []
    return [*heading, *below, *kept]


def _dense(page: Page, weights: list[int], in_data_table: list[bool]) -> list[bool]:
    """For each box, whether it or a box around it is mostly links, as menus are."""
    boxes = page.boxes
    good = _sums(page, weights)
    dense = [False] * len(boxes)
    for place in range(1, len(boxes)):
        box = boxes[place]
        if dense[box.parent]:
            dense[place] = True
        elif 2 * box.linked > box.size and good[place] < _GOOD_BOX and not in_data_table[place]:
            part = box.tag in HEADINGS or (box.tag in _ITEMS and box.tag != "td")  # judged with its list
            dense[place] = not part and not (box.tag == "p" and boxes[box.parent].tag in _ITEMS)
    return dense


def _weight(block: Block) -> int:
    """How much of a block speaks for the box that it stands in."""
    if block.tag in HEADINGS or 2 * block.linked > block.size:
        return 0
    if block.tag == "pre" or block.size >= _GOOD_SIZE:
        return block.size - block.linked
    return block.size // 3 if block.tag in _ITEMS and not block.linked else 0


def _is_label(block: Block) -> bool:
    """True of lines about the text: dates, counts, copyright, invitations to share."""
    if not block.size:
        return True
    if block.linked and block.size <= _LABEL_SIZE and _LEAVING.search(block.text):
        return True
    if block.size > _LABEL_SIZE or block.tag in _ITEMS or block.tag in HEADINGS or _PRICE.fullmatch(block.text):
        return False
    if block.asks or 2 * block.linked > block.size or _NOISE.match(block.text):
        return True
    return not block.text.endswith(_ENDS) and bool(_ABOUT.search(block.text))


def _sums(page: Page, weights: list[int]) -> list[int]:
    """Adds up the weights of the blocks in each box."""
    sums = [0] * len(page.boxes)
    for block, weight in zip(page.blocks, weights, strict=True):
        sums[block.box] += weight
    for place in range(len(sums) - 1, 0, -1):
        sums[page.boxes[place].parent] += sums[place]
    return sums


def _main_range(page: Page, weights: list[int]) -> tuple[int, int]:
    """Returns the range of blocks of the innermost box that holds nearly all good text.

    More than half of the text is in one box of each level only, so the last such box is the innermost.
    """
    sums = _sums(page, weights)
    main = page.boxes[0]
    for box, held in zip(page.boxes, sums, strict=True):
        if held > _MAIN_SHARE * sums[0] and (box.tag in _CONTAINERS or "-" in box.tag):
            main = box
    return main.start, main.end


def _names_page(block: Block, title: str) -> bool:
    """True if a heading says what the page's title says and is not the name of the site."""
    name = _LETTERS.sub("", block.text).lower()
    return not block.home and len(name) > 3 and (name in title or (len(title) > 3 and title in name))


def _heading_before(page: Page, start: int, kept: list[int], title: str) -> list[int]:
    """The page's heading, where it stands before the main box; old pages have it in any element."""
    blocks = page.blocks
    headings = [place for place in kept if blocks[place].tag in HEADINGS]
    if any(blocks[place].tag == "h1" or _names_page(blocks[place], title) for place in headings):
        return []
    named = [place for place in range(start) if _names_page(blocks[place], title)]
    marked = [place for place in named if blocks[place].tag in HEADINGS]
    first = [place for place in range(start) if blocks[place].tag == "h1" and not blocks[place].home]
    return (marked or first or named)[-1:]


def _without_orphans(page: Page, kept: list[int]) -> list[int]:
    """Leaves out headings whose text was left out, and labels at the end."""
    blocks = page.blocks
    result: list[int] = []
    below = ""  # the tag of what follows in the result
    follower = len(blocks)
    for place in reversed(kept):
        tag = blocks[place].tag
        if tag in HEADINGS:
            orphan = not result or (place + 1 != follower and below in HEADINGS and below <= tag)
            if orphan and len(kept) > 1:
                continue
        elif (
            not result
            and tag not in _ITEMS
            and blocks[place].size < _GOOD_SIZE
            and not blocks[place].text.endswith(_ENDS)
        ):
            continue
        result.append(place)
        below, follower = tag, place
    return result[::-1]
