"""What scenes are made of: the cast a document draws from, stories, and what is asked about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from lm.data.synthetic.names import NUMBERS, Entities

T = TypeVar("T")


class Ask(NamedTuple):
    """A question about a story; `choices` are the answers a guesser would pick from, the right one among them."""

    kind: str
    question: str
    answer: str
    choices: tuple[str, ...]


class Scene(NamedTuple):
    """A story (which may be empty) and everything that may be asked about it."""

    story: str
    asks: list[Ask]


class Cast:
    """Draws people, things, places, colours and wordings for one document."""

    def __init__(self, rng: random.Random, entities: Entities) -> None:
        self._random = rng.random
        self._entities = entities

    def one(self, options: Sequence[T]) -> T:
        """Returns one option."""
        return options[int(self._random() * len(options))]

    def some(self, options: Sequence[T], n: int) -> tuple[T, ...]:
        """Returns n of the options, each at most once, in random order."""
        assert n <= len(options), f"{n} of {len(options)}"
        indices: dict[int, None] = {}
        while len(indices) < n:  # faster than random.sample for the few that are ever wanted
            indices[int(self._random() * len(options))] = None
        return tuple(options[i] for i in indices)

    def number(self, low: int, high: int) -> int:
        """Returns an integer from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self._random() < probability

    def people(self, n: int) -> tuple[str, ...]:
        """Returns n different people."""
        return self.some(self._entities.people, n)

    def things(self, n: int) -> tuple[str, ...]:
        """Returns n different things."""
        return self.some(self._entities.things, n)

    def places(self, n: int) -> tuple[str, ...]:
        """Returns n different places."""
        return self.some(self._entities.places, n)


def listing(items: Sequence[str]) -> str:
    """Joins items as `x`, `x and y` or `x, y and z`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def amount(n: int, thing: str) -> str:
    """Writes `one kite` or `three kites`."""
    return f"{NUMBERS[n]} {thing}" if n == 1 else f"{NUMBERS[n]} {thing}s"


def yes_no(question: str, truth: bool) -> Ask:
    """Returns a question whose answer is yes or no."""
    return Ask("yes_no", question, "yes" if truth else "no", ("yes", "no"))
