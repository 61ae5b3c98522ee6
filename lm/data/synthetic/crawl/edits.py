"""Near-duplicates of a wanted similarity, and leaked questions with light edits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from lm.data.synthetic.crawl import prose
from lm.data.synthetic.crawl.content import Block, Content
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.names import Entities

SHINGLE = 5
_WORD = re.compile(r"\w+")
_CAPITALISED = re.compile(r"\b[A-Z][a-z]+")
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")
_TOLERANCE = 0.02
_TRIES = 40

Edit: TypeAlias = Callable[[Cast, Content], Content]


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Returns the runs of five words of a text, in lower case and without punctuation."""
    words = _WORD.findall(text.lower())
    return frozenset(zip(*(words[i:] for i in range(SHINGLE)), strict=False))


def similarity(one: str, other: str) -> float:
    """Returns the Jaccard similarity of the runs of five words of two texts; 0 where neither has any."""
    a, b = shingles(one), shingles(other)
    return _jaccard(a, b)


def _jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    common = len(a & b)
    return common / max(1, len(a) + len(b) - common)


class NearDuplicates:
    """Makes near-duplicates of pages about some entities.

    The edits keep whatever is told and asked true: people and towns change their names throughout, and sentences of
    prose or whole blocks come and go.
    """

    def __init__(self, entities: Entities) -> None:
        self._people, self._places = frozenset(entities.people), frozenset(entities.places)
        self._edits: tuple[Edit, ...] = (self._rename, self._rename, _shorter, _longer, _without_block)

    def __call__(self, cast: Cast, content: Content, target: float) -> tuple[Content, float]:
        """Returns an edited copy and its similarity to the content, which is near `target` and below 1."""
        original = shingles(content.text)
        best, reached = content, 1.0
        for _ in range(_TRIES):
            if reached <= target + _TOLERANCE and reached < 1.0:
                break
            tried = cast.one(self._edits)(cast, best)
            found = _jaccard(original, shingles(tried.text))
            if target - _TOLERANCE <= found < reached:
                best, reached = tried, found
        if reached == 1.0:  # every edit went too far: the smallest there is
            best = _longer(cast, content)
            reached = _jaccard(original, shingles(best.text))
        text = best.text
        pii = tuple(found for found in content.pii if found.value in text)
        return best._replace(pii=pii, refrain=content.refrain if content.refrain in text else ""), reached

    def _rename(self, cast: Cast, content: Content) -> Content:
        """Gives one person or town another name throughout."""
        names = list(dict.fromkeys(_CAPITALISED.findall(content.text)))
        old = cast.one(names) if names else ""
        draw = cast.people if old in self._people else cast.places if old in self._places else None
        new = draw(1)[0] if draw else ""
        if not new or new in names:  # two of one name would make questions ambiguous
            return content
        pattern = re.compile(rf"\b{old}\b")
        return content._replace(
            blocks=tuple(block._replace(text=pattern.sub(new, block.text)) for block in content.blocks)
        )


def _shorter(cast: Cast, content: Content) -> Content:
    """Leaves out a sentence of prose."""
    at = cast.number(0, len(content.blocks) - 1)
    block = content.blocks[at]
    parts = _SENTENCE_END.split(block.text)
    if block.kind != "prose" or len(parts) < 3:
        return content
    del parts[cast.number(0, len(parts) - 1)]
    return _replaced(content, at, [block._replace(text=" ".join(parts))])


def _longer(cast: Cast, content: Content) -> Content:
    """Adds a sentence as a block of its own at the end."""
    return _replaced(content, len(content.blocks), [Block("prose", prose.sentences(cast, 1)[0])])


def _without_block(cast: Cast, content: Content) -> Content:
    if len(content.blocks) < 3:
        return content
    at = cast.number(0, len(content.blocks) - 1)
    return _replaced(content, at, [])


def _replaced(content: Content, at: int, blocks: list[Block]) -> Content:
    return content._replace(blocks=(*content.blocks[:at], *blocks, *content.blocks[at + 1 :]))


# --- leaks -----------------------------------------------------------------------------------------------------

_FILLERS = ("also", "then", "really", "now", "there", "today", "here", "just")


def _with_words(change: Callable[[Cast, list[str], int], None]) -> Callable[[Cast, str], str]:
    """Makes an edit of single words, one in twenty-five of them, out of a change at one place."""

    def edit(cast: Cast, text: str) -> str:
        words = text.split(" ")
        for _ in range(max(1, round(len(words) / 25))):
            change(cast, words, cast.number(0, len(words) - 1))
        return " ".join(words)

    return edit


def _substitute(cast: Cast, words: list[str], at: int) -> None:
    words[at] = cast.one(_FILLERS)


def _insert(cast: Cast, words: list[str], at: int) -> None:
    words.insert(at, cast.one(_FILLERS))


def _drop(cast: Cast, words: list[str], at: int) -> None:
    del words[at]


LEAK_EDITS: Mapping[str, Callable[[Cast, str], str]] = {
    "substituted": _with_words(_substitute),
    "inserted": _with_words(_insert),
    "dropped": _with_words(_drop),
    "case": lambda cast, text: text.upper() if cast.chance(0.5) else text.lower(),
    "punctuation": lambda cast, text: re.sub(r"[.,:?']", "", text),
    "spacing": lambda cast, text: re.sub(r"\s", lambda found: "\n" if cast.chance(0.2) else " ", text),
}
"""The light edits of leaked questions, by name."""
