"""The world: documents and questions as pure functions of a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from lm.data.synthetic import names
from lm.data.synthetic.grammar import Cast, Scene
from lm.data.synthetic.names import Entities, Split
from lm.data.synthetic.questions import Question, prompt, transcript
from lm.data.synthetic.scenes import KINDS, SCENES, drill
from lm.data.synthetic.tales import song, tale

_TALE_SHARE = 0.1
_SONG_SHARE = 0.1
_DRILL_SHARE = 0.05
_MAX_CHARACTERS = 400
_MOODS = ("It is a fine day.", "The sun is up.", "It is a windy day.", "Rain falls on the roof.", "It is late.")
_MOOD_SHARE = 0.2


class WorldDocument(NamedTuple):
    """A short text and an id that is the same on every run."""

    id: str
    text: str


class World:
    """A little world of people, things and places; everything about it follows from its seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @cached_property
    def _entities(self) -> dict[Split, Entities]:
        return {split: names.entities(self.seed, split) for split in ("train", "test")}

    def entities(self, split: Split) -> Entities:
        """Returns the people, things and places of a split; the splits share none."""
        return self._entities[split]

    def documents(self, split: Split = "train", n: int = 20_000) -> Iterator[WorldDocument]:
        """Yields n documents of 60 to 400 characters; the first k of them are the same whatever n is."""
        rng = random.Random(f"{split} documents of world {self.seed}")
        cast = Cast(rng, self._entities[split])
        for i in range(n):
            yield WorldDocument(f"world-{self.seed}/{split}/{i:07d}", _document(cast))

    def questions(self, split: Split = "test", n: int = 600) -> list[Question]:
        """Returns n questions with different prompts, as many of each kind as of any other (give or take one)."""
        rng = random.Random(f"{split} questions of world {self.seed}")
        cast = Cast(rng, self._entities[split])
        by_prompt: dict[str, Question] = {}
        while len(by_prompt) < n:
            kind = KINDS[len(by_prompt) % len(KINDS)]
            scene = _staged(cast, cast.one([scene for scene, kinds in SCENES.items() if kind in kinds])(cast))
            ask = cast.one([ask for ask in scene.asks if ask.kind == kind])
            text = prompt(scene.story, ask.question)
            identity = f"world-{self.seed}/{split}/question-{len(by_prompt):04d}"
            by_prompt.setdefault(text, Question(identity, kind, text, ask.answer, ask.choices))
        return list(by_prompt.values())


_SCENES = tuple(SCENES)


def _document(cast: Cast) -> str:
    draw = cast.number(0, 99) / 100
    if draw < _TALE_SHARE:
        return tale(cast)
    if draw < _TALE_SHARE + _SONG_SHARE:
        return song(cast)
    if draw < _TALE_SHARE + _SONG_SHARE + _DRILL_SHARE:
        return _with_answers(cast, drill(cast))
    return _with_answers(cast, _staged(cast, cast.one(_SCENES)(cast)))


def _staged(cast: Cast, scene: Scene) -> Scene:
    """Sometimes opens a scene with the weather or the hour."""
    return scene._replace(story=f"{cast.one(_MOODS)} {scene.story}") if cast.chance(_MOOD_SHARE) else scene


def _with_answers(cast: Cast, scene: Scene) -> str:
    """Writes a scene with its questions, in random order, as many as fit: the answers are what is to be learnt."""
    asks = cast.some(scene.asks, len(scene.asks))
    text = transcript(scene.story, [(asks[0].question, asks[0].answer)])
    for ask in asks[1:]:
        longer = f"{text}\n{transcript('', [(ask.question, ask.answer)])}"
        if len(longer) > _MAX_CHARACTERS:
            break
        text = longer
    return text
