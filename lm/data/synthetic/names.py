"""The words of the world: people, things and places compounded from short common parts.

Every entity is one of two parts put together (Mir·a, snow·bell, Oak·ford). Train and test share the
parts, so a tokenizer that saw one split can spell the other, but never a whole: which compounds belong to
which split is drawn by the world's seed. Colours and numbers are answers, and shared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

Split = Literal["train", "test"]

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# No second part may begin another second part of its row, or one entity could be found inside another. People's first
# parts end, and their second parts begin, such that byte-pair merging tends to cut between them.
_PERSON = (
    "Mir Tal Ben Kor Lus Nel Dar Fen Gil Hal Jan Kel Lor Mar Nor Pel Rin Sam Tom Val Wil Yan Zan Bram Clem Dor Flor "
    "Gret Hol Jor Kat Lin Mel Nad Pim Ron Sol Tess Ver Wend Yor Zel Bel Cor Den Fin Gor Hen Jas Lam Nil Per Ral Sar "
    "Tim Vin Ols Arv Ingr Erl",
    "a o i en el us et ey",
)
_THING = (
    "rain sun snow moon star tea milk fruit bird fish sand wind wood tin silk wool glass clay book hand lap toy "
    "farm corn honey paper",
    "bell bag ball boat bowl cap cart coat cup drum flag hat horn jar kite lamp pan pot ring rug mat net top wheel",
)
_PLACE = (
    "Oak Ash Elm Mill Stone Fern Rose Hill Lark Fox Deer Marsh West East North Long Sand Lake Rock Wind Apple Bee",
    "ford wood field bridge vale brook port wick gate moor water land view hurst haven cross",
)
# Compounds that are English words of another meaning, and would read oddly here.
_UNFIT = "Linen Halo Valet Holey Solo Lamey windbag handbag fishnet"
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Entities:
    """The people, things and places of one split."""

    people: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.people, *self.things, *self.places))


def entities(seed: int, split: Split) -> Entities:
    """Returns the entities of a split; the two splits of one seed have none in common.

    Raises:
        ValueError: a split other than train or test.
    """
    if split not in get_args(Split):
        raise ValueError(f"split={split!r}: the world has {' and '.join(get_args(Split))}")
    rng = random.Random(f"entities of world {seed}")
    return Entities(*(_share(_compounds(*parts), rng, split) for parts in (_PERSON, _THING, _PLACE)))


def _compounds(firsts: str, seconds: str) -> list[str]:
    unfit = _UNFIT.split()
    pairs = product(firsts.split(), seconds.split())
    return [first + second for first, second in pairs if first.lower() != second and first + second not in unfit]


def _share(words: Sequence[str], rng: random.Random, split: Split) -> tuple[str, ...]:
    shuffled = rng.sample(words, len(words))
    n_test = round(_TEST_SHARE * len(words))
    return tuple(sorted(shuffled[:n_test] if split == "test" else shuffled[n_test:]))
