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
        if self.cast.chance(0.35):
            told[self.cast.number(0, n - 1)] = _document(self.cast)
        return told


def labelled(kind: Kind, split: Split, n: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yields n texts of one to eight sentences and their labels, 0 and 1 in turn.

    Half of the negatives share words with the positives (quarrels made up, medicine, honest trade); one in ten shows
    another property. Both splits draw people, things and places from the world's train split, each from its own half.

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


def _document(cast: Cast) -> str:
    """Returns a tale, or a scene and questions about it."""
    if cast.chance(0.3):
        return tale(cast)
    scene = cast.one(tuple(SCENES))(cast)
    asks = cast.some(scene.asks, cast.number(1, len(scene.asks)))
    return transcript(scene.story, [(ask.question, ask.answer) for ask in asks])


def _property(source: _Source, kind: str, label: int) -> str:
    cast, split = source.cast, source.split
    n = cast.number(1, 8)
    if label:
        shown = [
            WORDINGS[kind].show(cast, split) for _ in range(max(1, round(n * (0.4 + 0.6 * cast.number(0, 9) / 9))))
        ]
        told = shown + (source.ordinary(n - len(shown)) if n > len(shown) else [])
    elif cast.chance(0.1):
        other = cast.one([other for other in WORDINGS if other != kind])
        told = [WORDINGS[other].show(cast, split) for _ in range(n)]
    elif cast.chance(0.55):
        told = [
            WORDINGS[kind if cast.chance(0.7) else cast.one(tuple(WORDINGS))].resemble(cast, split) for _ in range(n)
        ]
        told[n // 2 :] = source.ordinary(n - n // 2)
    else:
        told = source.ordinary(n)
    return " ".join(cast.some(told, len(told)))


_POOR: tuple[Callable[[Cast, Split], str], ...] = (quality.chatter, quality.keywords, quality.shreds)


def _quality(source: _Source, label: int) -> str:
    if label:
        return " ".join(source.ordinary(source.cast.number(2, 10)))
    return source.cast.one(_POOR)(source.cast, source.split)
