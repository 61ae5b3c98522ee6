"""The words of the world: people, things and places compounded from short common parts.

Every entity is one of two parts put together (Mir·na, snow·bell, Oak·ford). Train and test share the
parts, so a tokenizer that saw one split can spell the other, but never a whole: which compounds belong to
which split is drawn by the world's seed. Colours and numbers are answers, and shared.

There are many compounds and few are held out, for a reason: with few, a small model learns by heart which
halves go together, and takes an unseen whole for impossible where it should copy it from the story.
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

# No second part may begin another second part of its row, or one entity could be found inside another.
_PERSON = (
    "Bal Bel Ben Bor Cal Cor Dal Dar Del Den Dor Fal Far Fen Fin Gal Gar Gil Gor Hal Han Har Hel Hen Hol Jal Jan Jas "
    "Jor Kal Kel Kir Kor Lam Len Lin Lis Lor Lus Mar Mel Mil Mir Mon Mor Nar Nel Nes Nil Nor Pal Par Pel Per Pim Pon "
    "Ral Ras Ren Rin Ron Ros Rul Sam San Sar Sel Sil Sol Tal Tar Tes Tim Tir Tom Tor Val Vel Ver Vin Vor Wen Wil Wis "
    "Yan Yel Yor Zan Zel Zor",
    "ba be bi bo da de di do ga gi go ka ki ko la le li lo ma me mi mo na ne ni no ra ri ro sa si so ta te ti to va ve "
    "vi vo",
)
_THING = (
    "rain sun snow moon star tea milk fruit bird fish sand wind wood tin silk wool glass clay hand lap toy farm corn "
    "honey paper leaf salt plum bean nut mist dew frost fire road barn pine reed moss coal gold steel night day cloud",
    "bag ball bell belt boat boot bowl broom cap card cart chain chair clock cloak coat comb cup doll drum fan flag "
    "fork glove harp hat horn jar kite lamp lid mask mat mug nail net pan pen pipe plate pot purse ring rope rug saw "
    "shoe sled sock tent tile top vest wheel",
)
_PLACE = (
    "Oak Ash Elm Mill Stone Fern Rose Hill Lark Fox Deer Marsh West East North South Long Sand Lake Rock Wind Apple "
    "Bee Thorn Birch Maple Raven Crow Swan Wolf Hare Bear King Queen Bright Clear Cold High Old New Winter Summer Salt",
    "ford wood field bridge vale brook port wick gate moor water view hurst haven cross ton ley den well pool hall "
    "cliff shore point ridge grove glen",
)
# Compounds that are words of another meaning, or too near to one, and would read oddly here.
_UNFIT = "Salto Pasta Pinto Marine Saline Morbi Zorro Sarin Mongo Teste Testi Testo fishnet saltpan birdbag handbag"
_TEST_SHARE = 0.06


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
