"""The generated crawl: pages with planted truth, as a function of a seed and a number of pages."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lm.data.synthetic.crawl import content as contents
from lm.data.synthetic.crawl import edits, markup, sites
from lm.data.synthetic.crawl.content import Block, Content
from lm.data.synthetic.crawl.plan import SHARES, Planned, plan
from lm.data.synthetic.crawl.truth import Leak, Page
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.world import World

_PAGES_PER_SITE = 40
_REFRAIN_SHARE = 0.6  # of the pages of every other site
_MOJIBAKE_SHARE = 0.03
_LOWEST_SIMILARITY = 0.5
_HTML = "text/html"


class Item(NamedTuple):
    """A benchmark item as GSM8K writes it."""

    question: str
    answer: str


class Response(NamedTuple):
    """What a server sent, and the truth about it but for the ids, which depend on the file it is written to."""

    url: str
    status: str
    headers: dict[str, str]
    body: bytes
    page: Page


class _Made(NamedTuple):
    """A page with everything a copy of it needs."""

    content: Content
    site: int
    path: str
    markup_seed: str


class Crawl:
    """A crawl of `n_pages` responses; everything about it follows from its seed, its size and what is asked of it.

    Clean pages are composed of the documents of `World(seed)`; `benchmark` holds the items that some pages leak, by
    default the test questions of that world.
    """

    def __init__(
        self,
        seed: int,
        n_pages: int,
        shares: Mapping[str, float] = SHARES,
        benchmark: Sequence[Item] | None = None,
    ) -> None:
        self.seed = seed
        self.world = World(seed)
        self.benchmark = tuple(benchmark) if benchmark is not None else questions(self.world)
        self.plan = plan(seed, n_pages, shares)
        self._near_duplicate = edits.NearDuplicates(self.world.entities("train"))

    def __iter__(self) -> Iterator[Response]:
        """Yields the responses in order; the originals of copies to come are all that is kept."""
        world = iter(document.text for document in self.world.documents("train", sys.maxsize))
        copied = {planned.original for planned in self.plan}
        hosts = self._sites()
        kept: dict[int, _Made] = {}
        for number, planned in enumerate(self.plan):
            cast = self._cast(f"page {number}")
            if planned.kind == "skipped":
                yield _no_page(cast, hosts[cast.number(0, len(hosts) - 1)], number)
                continue
            made, facts = self._made(cast, planned, number, hosts, kept, world)
            if number in copied:
                kept[number] = made
            yield self._response(made, planned.kind, hosts[made.site], facts)

    def _cast(self, purpose: str) -> Cast:
        return Cast(random.Random(f"{purpose} of crawl {self.seed}"), self.world.entities("train"))

    def _sites(self) -> list[sites.Site]:
        return [
            sites.site(self._cast(f"site {i}"), i)
            for i in range(max(len(sites.STYLES), len(self.plan) // _PAGES_PER_SITE))
        ]

    def _made(
        self,
        cast: Cast,
        planned: Planned,
        number: int,
        hosts: Sequence[sites.Site],
        kept: Mapping[int, _Made],
        world: Iterator[str],
    ) -> tuple[_Made, dict[str, float | Leak]]:
        """Returns a page, and what is true of it beyond its content."""
        site = cast.number(0, len(hosts) - 1)
        facts: dict[str, float | Leak] = {}
        if planned.kind == "duplicate":
            original = kept[planned.original]
            return (original if cast.chance(0.5) else original._replace(site=site)), facts
        if planned.kind == "near_duplicate":
            target = _LOWEST_SIMILARITY + (1 - _LOWEST_SIMILARITY) * cast.number(0, 999) / 1000
            content, facts["similarity"] = self._near_duplicate(cast, kept[planned.original].content, target)
        else:
            content = _CONTENTS[planned.kind](cast, world)
        if planned.kind == "leak":
            content, facts["leak"] = self._leaking(cast, content)
        if planned.kind == "clean" and site % 2 == 0 and cast.chance(_REFRAIN_SHARE):
            line = hosts[site].refrain
            content = contents.insert(content, len(content.blocks), Block("prose", line))._replace(refrain=line)
        slug = "-".join(re.findall(r"[a-z]+", content.title.lower())[:6]) or "page"
        return _Made(content, site, f"/{slug}-{number}.html", f"markup {number}"), facts

    def _leaking(self, cast: Cast, content: Content) -> tuple[Content, Leak]:
        item = cast.number(0, len(self.benchmark) - 1)
        question, answer = self.benchmark[item]
        edit = "verbatim" if cast.chance(0.5) else cast.one(tuple(edits.LEAK_EDITS))
        told = question if edit == "verbatim" else edits.LEAK_EDITS[edit](cast, question)
        whole = f"{told}\nAnswer: {answer}" if cast.chance(0.5) else told
        block = Block("lines" if "\n" in whole else "prose", whole)
        leaking = contents.insert(content, cast.number(0, len(content.blocks)), block)
        start = leaking.text.index(whole)
        return leaking, Leak(item, edit, start, start + len(told))

    def _response(self, made: _Made, kind: str, site: sites.Site, facts: Mapping[str, float | Leak]) -> Response:
        cast = self._cast(made.markup_seed)
        content = made.content
        if site.charset == "windows-1252" and content.language == "ru":
            site = site._replace(charset="windows-1251")
        html = markup.page(cast, site, content, made.path)
        charset, encoding = site.charset, site.charset or cast.one(("utf-8", "utf-8", "windows-1252"))
        if encoding == "utf-8" and not html.isascii() and cast.chance(_MOJIBAKE_SHARE):
            html, charset = _mojibake(html), "mojibake"
        declared = f"{_HTML}; charset={site.charset}" if site.charset and cast.chance(0.6) else _HTML
        url = f"http://{site.host}{made.path}"
        page = Page(
            "", "", url, kind, content.detail, content.text, content.title, content.language, site.style, charset,
            refrain=content.refrain, pii=content.pii, **facts,  # type: ignore[arg-type]
        )  # fmt: skip
        return Response(url, "200 OK", {"Content-Type": declared}, html.encode(encoding, "xmlcharrefreplace"), page)


_CONTENTS: Mapping[str, Callable[[Cast, Iterator[str]], Content]] = {
    "clean": contents.clean,
    "leak": contents.clean,
    "spam": lambda cast, world: contents.unwanted(cast, "spam"),
    "toxic": lambda cast, world: contents.unwanted(cast, "toxicity"),
    "adult": lambda cast, world: contents.unwanted(cast, "adult"),
    "low_quality": lambda cast, world: contents.low_quality(cast),
    "short": lambda cast, world: contents.short(cast),
    "empty": lambda cast, world: contents.empty(cast),
    "foreign": lambda cast, world: contents.foreign(cast),
}


def questions(world: World) -> tuple[Item, ...]:
    """Returns the world's test questions as benchmark items: the story and what is asked, and the answer."""
    return tuple(
        Item(question.prompt.removesuffix("\nAnswer:"), question.answer) for question in world.questions("test")
    )


def _mojibake(html: str) -> str:
    """Returns the text as it looks when its UTF-8 is read as windows-1252; unchanged where that is impossible."""
    try:
        return html.encode().decode("windows-1252")
    except UnicodeDecodeError:
        return html


_NO_PAGES: tuple[tuple[str, str, bytes], ...] = (
    ("200 OK", "image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256))),
    ("200 OK", "application/json", b'{"items": [], "next": null}'),
    ("200 OK", "text/css", b"body { margin: 0 }\n"),
    ("404 Not Found", _HTML, b"<html><body><h1>Not Found</h1></body></html>"),
    ("301 Moved Permanently", _HTML, b""),
    ("503 Service Unavailable", _HTML, b"<html><body>Come back later.</body></html>"),
)


def _no_page(cast: Cast, site: sites.Site, number: int) -> Response:
    status, mime, body = cast.one(_NO_PAGES)
    url = f"http://{site.host}/{mime.split('/')[1]}/{number}"
    detail = mime if status.startswith("200") else status
    page = Page("", "", url, "skipped", detail, "", "", "", site.style, "")
    return Response(url, status, {"Content-Type": mime}, body, page)
