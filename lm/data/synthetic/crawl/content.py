"""What stands on pages: blocks of text made of the world's documents, articles, and what nobody wants to learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from lm.data.synthetic.crawl import languages, personal, prose, quality
from lm.data.synthetic.crawl.adult import ADULT
from lm.data.synthetic.crawl.spam import SPAM
from lm.data.synthetic.crawl.topics import TOPICS
from lm.data.synthetic.crawl.toxicity import TOXICITY
from lm.data.synthetic.grammar import Cast

WORDINGS = {"toxicity": TOXICITY, "adult": ADULT, "spam": SPAM}
"""The properties of text that have templates of their own."""


class Block(NamedTuple):
    """A paragraph, heading, table … of a page; the lines of `lines`, `code`, `list` and `table` are kept apart."""

    kind: Literal["title", "heading", "prose", "lines", "code", "list", "table"]
    text: str


class Content(NamedTuple):
    """The main text of a page in blocks; `detail` says what is special about it, `refrain` which line its site adds."""

    title: str
    blocks: tuple[Block, ...]
    language: str = "en"
    detail: str = ""
    pii: tuple[personal.Planted, ...] = ()
    refrain: str = ""

    @property
    def text(self) -> str:
        """The main text: blocks with an empty line between them."""
        return "\n\n".join(block.text for block in self.blocks)


def clean(cast: Cast, documents: Iterator[str]) -> Content:
    """Returns a page worth learning from; one in ten has personal data, some speak of quarrels, medicine or prices."""
    compose = cast.one(_STYLES)
    content = Content(prose.title(cast), tuple(compose(cast, documents)))
    if cast.chance(0.5):
        content = content._replace(blocks=(Block("title", content.title), *content.blocks))
    if cast.chance(0.12):
        kind = cast.one(tuple(WORDINGS))
        lines = (WORDINGS[kind].resemble(cast, "test") for _ in range(cast.number(2, 3)))
        content = _with_block(cast, content, " ".join(lines))._replace(detail=f"resembles {kind}")
    if cast.chance(0.08):
        content = _with_block(cast, content, personal.decoy(cast))
    return with_pii(cast, content) if cast.chance(0.1) else content


def with_pii(cast: Cast, content: Content) -> Content:
    """Returns the content with one to three pieces of personal data in a paragraph of its own."""
    lines, found = zip(*(personal.planted(cast) for _ in range(cast.number(1, 3))), strict=True)
    return _with_block(cast, content, " ".join(lines))._replace(pii=found)


def unwanted(cast: Cast, kind: str) -> Content:
    """Returns a page that shows one of `WORDINGS`: two thirds of its sentences, of the templates kept for tests."""
    wording = WORDINGS[kind]
    ordinary = iter(prose.sentences(cast, 20))
    paragraphs = [
        " ".join(
            wording.show(cast, "test") if i == 0 or cast.chance(0.6) else next(ordinary)
            for i in range(cast.number(3, 6))
        )
        for _ in range(cast.number(3, 4))
    ]
    return Content(prose.title(cast), tuple(Block("prose", text) for text in paragraphs))


def low_quality(cast: Cast) -> Content:
    """Returns a page of one of the sorts of `quality.LOW_QUALITY`; its detail names the sort."""
    sort = cast.one(tuple(quality.LOW_QUALITY))
    text = quality.LOW_QUALITY[sort](cast, "test")
    return Content(prose.title(cast), (Block("lines", text),), detail=sort)


def short(cast: Cast) -> Content:
    """Returns a page of one sentence."""
    return Content(prose.title(cast), (Block("prose", prose.sentences(cast, 1)[0]),))


def empty(cast: Cast) -> Content:
    """Returns a page without any main text."""
    return Content(prose.title(cast), ())


def foreign(cast: Cast) -> Content:
    """Returns a page in a language other than English."""
    language = cast.one(languages.LANGUAGES)
    paragraphs = languages.paragraphs(cast, language)
    return Content(paragraphs[0].split(",")[0][:60], tuple(Block("prose", text) for text in paragraphs), language)


def _with_block(cast: Cast, content: Content, text: str) -> Content:
    return insert(content, cast.number(1, len(content.blocks)), Block("prose", text))


def insert(content: Content, at: int, block: Block) -> Content:
    """Returns the content with one more block."""
    return content._replace(blocks=(*content.blocks[:at], block, *content.blocks[at:]))


# --- what clean pages are made of --------------------------------------------------------------------------------


def _paragraph(cast: Cast, low: int, high: int) -> Block:
    return Block("prose", " ".join(prose.sentences(cast, cast.number(low, high))))


def _document(documents: Iterator[str]) -> Block:
    text = next(documents)
    return Block("lines" if "\n" in text else "prose", text)


def _stories(cast: Cast, documents: Iterator[str]) -> list[Block]:
    """Returns documents, most of them with a paragraph behind: Gopher's rules want four words in five to have letters,
    and of stories with questions alone a quarter is punctuation."""
    blocks = []
    for _ in range(cast.number(3, 6)):
        blocks.append(_document(documents))
        if blocks[-1].kind == "lines" or cast.chance(0.3):
            blocks.append(_paragraph(cast, 1, 3))
    return blocks


def _article(cast: Cast, documents: Iterator[str]) -> list[Block]:
    topic = [cast.one(TOPICS)]
    told = prose.sentences(cast, cast.number(9, 24), topics=topic)
    blocks = []
    while told:
        n = cast.number(3, 5)
        blocks.append(Block("prose", " ".join(told[:n])))
        told = told[n:]
        if len(told) > 6 and cast.chance(0.3):
            blocks.append(Block("heading", prose.title(cast)))
    if cast.chance(0.4):
        blocks.append(_document(documents))
    return blocks


_CODE = (
    "def count_{things}({things}):\n    return sum(1 for item in {things} if item.ready)",
    "import {craft}\n\nfor {thing} in {craft}.load('{place}.txt'):\n    print({thing}.name, {thing}.size)",
    "class {Thing}:\n    def __init__(self, name, size={count}):\n        self.name = name\n        self.size = size",
    "$ {craft} --input {place}.csv --limit {count}\n$ {craft} report --sort name",
    "if len({things}) > {count}:\n    raise ValueError('too many {things}')\nresult = sorted({things})",
)


def _manual(cast: Cast, documents: Iterator[str]) -> list[Block]:
    thing = cast.things(1)[0]
    words = {"thing": thing, "things": f"{thing}s", "Thing": thing.capitalize(), "craft": f"{cast.things(1)[0]}kit"}
    code = cast.one(_CODE).format(**words, place=cast.places(1)[0].lower(), count=cast.number(2, 99))
    steps = "\n".join(prose.sentences(cast, cast.number(3, 5)))
    return [
        _paragraph(cast, 3, 5), Block("heading", f"Using the {thing}"), _paragraph(cast, 2, 4), Block("code", code),
        _paragraph(cast, 2, 4), Block("list", steps), _document(documents),
    ]  # fmt: skip


def _goods(cast: Cast, documents: Iterator[str]) -> list[Block]:
    rows = "\n".join(
        f"{thing}\t{cast.number(1, 40)}\t£{cast.number(2, 99)}" for thing in cast.things(cast.number(3, 6))
    )
    return [
        _paragraph(cast, 3, 5), Block("table", f"Item\tPieces\tPrice\n{rows}"), _paragraph(cast, 3, 4),
        _document(documents), _document(documents),
    ]  # fmt: skip


_STYLES: tuple[Callable[[Cast, Iterator[str]], list[Block]], ...] = (
    *(_stories,) * 12, *(_article,) * 5, *(_manual,) * 2, _goods,
)  # fmt: skip
