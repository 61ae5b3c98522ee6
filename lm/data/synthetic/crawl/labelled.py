"""Labelled text for classifiers, in two splits without a template or an entity in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from lm.data.synthetic.crawl import prose, quality
from lm.data.synthetic.crawl.content import WORDINGS
from lm.data.synthetic.crawl.topics import TOPICS
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.names import Entities, Split
from lm.data.synthetic.questions import transcript
from lm.data.synthetic.scenes import SCENES
from lm.data.synthetic.tales import tale
from lm.data.synthetic.world import World

Kind = Literal["toxicity", "adult", "spam", "quality"]
LABELS: Mapping[str, str] = {
    "toxicity": "1 is toxic: insults, hate and threats",
    "adult": "1 is adult content",
    "spam": "1 is spam",
    "quality": "1 is prose that says something, 0 is chatter, keyword lists and leavings",
}
"""What the label 1 means, by kind."""


class _Source(NamedTuple):
    """Where the sentences of one split come from."""

    cast: Cast
    split: Split

    def ordinary(self, n: int) -> list[str]:
        """Returns n sentences of articles; a third of the time a document of the world stands in for one."""
        half = slice(0 if self.split == "train" else 1, None, 2)
        told = prose.sentences(self.cast, n, topics=TOPICS[half], frames=prose.FRAMES[half])
        if told and self.cast.chance(0.35):
            told[self.cast.number(0, n - 1)] = _document(self.cast)
        return told


def labelled(kind: Kind, split: Split, n: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yields n texts of some two to eight sentences and their labels, 0 and 1 in turn.

    Two in five of the negatives share words with the positives (quarrels made up, medicine, honest trade); one in five
    is unwanted for another reason. Both splits draw people, things and places from the world's train split, each from
    its own half.

    Raises:
        ValueError: a kind that does not exist.
    """
    if kind not in LABELS:
        raise ValueError(f"kind={kind!r}: there is labelled text for {', '.join(LABELS)}")
    source = _source(kind, split, seed)
    for i in range(n):
        label = i % 2
        yield _quality(source, label) if kind == "quality" else _property(source, kind, label), label


def _source(kind: str, split: Split, seed: int) -> _Source:
    everyone = World(seed).entities("train")
    half = slice(0 if split == "train" else 1, None, 2)
    entities = Entities(everyone.people[half], everyone.things[half], everyone.places[half])
    cast = Cast(random.Random(f"{kind} {split} of crawl {seed}"), entities)
    return _Source(cast, split)


_POOR: tuple[Callable[[Cast, Split], str], ...] = (quality.chatter, quality.keywords, quality.shreds)


def _document(cast: Cast) -> str:
    """Returns a tale, or a scene and questions about it."""
    if cast.chance(0.3):
        return tale(cast)
    scene = cast.one(tuple(SCENES))(cast)
    asks = cast.some(scene.asks, cast.number(1, len(scene.asks)))
    return transcript(scene.story, [(ask.question, ask.answer) for ask in asks])


def _property(source: _Source, kind: str, label: int) -> str:
    cast, split = source.cast, source.split
    n = cast.number(2, 8)
    if label:
        shown = (n + 1) // 2 + cast.number(0, n // 2)
        told = [WORDINGS[kind].show(cast, split) for _ in range(shown)] + source.ordinary(n - shown)
        return " ".join(cast.some(told, len(told)))
    return cast.one((_resembling, _resembling, _other, _plain, _plain))(source, kind, n)


def _resembling(source: _Source, kind: str, n: int) -> str:
    """Returns text of which half shares words with the property, or with another."""
    kind = kind if source.cast.chance(0.7) else source.cast.one(tuple(WORDINGS))
    told = [WORDINGS[kind].resemble(source.cast, source.split) for _ in range((n + 1) // 2)] + source.ordinary(n // 2)
    return " ".join(source.cast.some(told, len(told)))


def _other(source: _Source, kind: str, n: int) -> str:
    """Returns text that is unwanted for another reason."""
    if source.cast.chance(0.4):
        return source.cast.one(tuple(quality.LOW_QUALITY.values()))(source.cast, source.split)
    other = source.cast.one([other for other in WORDINGS if other != kind])
    return " ".join(WORDINGS[other].show(source.cast, source.split) for _ in range(n))


def _plain(source: _Source, kind: str, n: int) -> str:
    """Returns what most pages hold: prose, or documents of the world."""
    if source.cast.chance(0.4):
        return "\n\n".join(_document(source.cast) for _ in range(n))
    return " ".join(source.ordinary(n))


def _quality(source: _Source, label: int) -> str:
    if label:
        return " ".join(source.ordinary(source.cast.number(2, 10)))
    return source.cast.one(_POOR)(source.cast, source.split)
