"""Finds the items of benchmarks in a text, word for word or lightly edited.

Text and items are compared as words: NFKC, lower case, no punctuation, no apostrophes, no single letters (so that the
labels of choices do not matter), number words as digits. A run of n words that both have covers those words of the
item; the item is in the text if enough of its words are covered within a window of about its own length. A window, so
that a long text does not gather an item word by word; words rather than runs, as one changed word breaks n runs. An
item of fewer than n words must be there whole. GPT-3 (Brown et al., 2020) took any one run of 13 words instead, which
misses short items that were edited, and hits phrases that many texts share.

Items of one benchmark often share a template ("How many apples does Tom have?"), and texts that have it need not leak
any of them. So a run that k items have weighs 1/k, a word as much as the best run that covers it, and what has to be
covered is a share of the weight that the item has when it is there whole: word for word it is found whatever it shares.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from lm.common.errors import UserError
from lm.data.curate.benchmarks import Item
from lm.data.curate.marks import UNSPACED_CLASS, unspaced_letters

_ASCII_WORD = re.compile(r"[a-z0-9]{2,}|[0-9]")
_THOUSANDS = re.compile(r",(?<=[0-9],)(?=[0-9]{3}(?![0-9]))")
_SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WINDOW = 1.25  # of an item's length
_ROUNDING = 1e-9


class Leak(NamedTuple):
    """An item found in a text: its name, the share of it that is covered, the words [start, stop) it fills there."""

    name: str
    coverage: float
    start: int
    stop: int


def normalised_words(text: str) -> list[str]:
    """Returns the words of a text as they are compared."""
    text = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("’", "")
    return (_ASCII_WORD if text.isascii() else _word()).findall(_THOUSANDS.sub("", text))


@cache
def _word() -> re.Pattern[str]:
    """Returns what a word is; of scripts written without spaces, every character."""
    return re.compile(rf"[^\W_{UNSPACED_CLASS}]{{2,}}|[0-9{unspaced_letters()}]")


@dataclass(frozen=True, eq=False)
class Index:
    """The runs of `ngram` words of every passage of every item, as sorted hashes.

    A passage p is of item `items[p]` and has `lengths[p]` words. The run with hash `grams[g]` begins at word
    `places[o]` of passage `owners[o]` for o in [starts[g], starts[g + 1]).
    """

    ngram: int
    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    items: np.ndarray
    lengths: np.ndarray
    grams: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    places: np.ndarray

    @classmethod
    def build(cls, items: Iterable[Item], *, ngram: int = 5, min_words: int = 8) -> Index:
        """Indexes items; a passage of fewer than `min_words` words says too little to be looked for.

        Raises:
            UserError: limits below 1, or no passage that is long enough.
        """
        if ngram < 1 or min_words < 1:
            raise UserError(f"ngram={ngram}, min_words={min_words}: both must be at least 1")
        names: list[str] = []
        owner_items: list[int] = []
        passages: list[list[str]] = []
        for item in items:
            long_enough = [words for words in map(normalised_words, item.passages) if len(words) >= min_words]
            owner_items += [len(names)] * len(long_enough)
            passages += long_enough
            names.append(item.name)
        if not passages:
            raise UserError(f"no item has a passage of min_words={min_words} words; lower it, or give longer items")
        vocabulary = tuple(sorted({word for words in passages for word in words}))
        hashes = _hash_words(vocabulary)
        grams = [_grams(_look_up(hashes, words), min(ngram, len(words))) for words in passages]
        sizes = [len(part) for part in grams]
        values, owners = np.concatenate(grams), np.repeat(np.arange(len(passages), dtype=np.int32), sizes)
        places = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        order = np.argsort(values, kind="stable")
        unique, starts = np.unique(values[order], return_index=True)
        return cls(
            ngram=ngram,
            names=tuple(names),
            vocabulary=vocabulary,
            items=np.array(owner_items, np.int32),
            lengths=np.array([len(words) for words in passages], np.int32),
            grams=unique,
            starts=np.append(starts, len(values)),
            owners=owners[order],
            places=places[order],
        )

    def find(self, words: Sequence[str], coverage: float, min_covered: int) -> list[Leak]:
        """Returns the places in a text's normalised words where enough of a passage is.

        Enough is a share of `coverage` of its weight, and `min_covered` words or all of them: most of a few words is a
        common phrase. In order of their start; one item may be found more than once, and by several of its passages.
        """
        rows, positions = self._hits(words)
        owners = self.owners[rows]
        leaks: list[Leak] = []
        for passage in self._candidates(np.unique(rows), coverage, min_covered):
            mine = owners == passage
            leaks += self._leaks(passage, rows[mine], positions[mine], coverage, min_covered)
        leaks = [leak._replace(stop=min(leak.stop, len(words))) for leak in leaks]
        return sorted(leaks, key=lambda leak: (leak.start, leak.stop, leak.name))

    def _candidates(self, rows: np.ndarray, coverage: float, min_covered: int) -> list[int]:
        """Returns the passages whose runs would cover enough were they all apart: cheap, and keeps nearly nothing."""
        owners, spans = self.owners[rows], np.minimum(self.lengths, self.ngram)
        words = spans * np.bincount(owners, minlength=len(spans))
        weights = spans * np.bincount(owners, self._weights[rows], minlength=len(spans))
        many = (words > 0) & (words >= np.minimum(self.lengths, min_covered))
        passages: list[int] = np.flatnonzero(many & (weights >= coverage * self._totals - _ROUNDING)).tolist()
        return passages

    def _leaks(
        self, passage: int, rows: np.ndarray, positions: np.ndarray, coverage: float, min_covered: int
    ) -> Iterator[Leak]:
        """Slides a window over one passage's hits (positions ascend), and yields the best of those that overlap."""
        length, places = int(self.lengths[passage]), self.places[rows]
        span = min(self.ngram, length)
        width = int(np.ceil(_WINDOW * length)) - span
        stops = np.searchsorted(positions, positions + width, side="right")
        words, weights = places[:, None] + np.arange(span), self._weights[rows][:, None]
        shares = np.zeros(len(rows))
        for at, stop in enumerate(stops):
            covered = np.zeros(length)
            np.maximum.at(covered, words[at:stop], weights[at:stop])
            if np.count_nonzero(covered) >= min(length, min_covered):
                shares[at] = covered.sum() / self._totals[passage]
        at = 0
        while at < len(shares):
            if shares[at] < coverage - _ROUNDING:
                at += 1
                continue
            best = at + int(np.argmax(shares[at : stops[at]]))
            last = int(stops[best]) - 1
            start = max(0, int(positions[best] - places[best]))
            stop = int(positions[last] + length - places[last])
            yield Leak(self.names[self.items[passage]], round(float(shares[best]), 9), start, stop)
            at = int(np.searchsorted(positions, positions[last], side="right"))

    def _hits(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row in `owners` and the place in the text of every run that both have, by their place."""
        hashes = _look_up(self._hashes, words)
        found = [self._slots(_grams(hashes, span)) for span in self._spans if span <= len(words)]
        slots, positions = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _NO_HITS
        counts = self.starts[slots + 1] - self.starts[slots]
        ends = np.cumsum(counts)
        rows = np.arange(counts.sum()) + np.repeat(self.starts[slots] - ends + counts, counts)
        positions = np.repeat(positions, counts)
        order = np.argsort(positions, kind="stable")
        return rows[order], positions[order]

    def _slots(self, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns where runs of the text stand in `grams`, and where they stand in the text."""
        positions = np.flatnonzero(self._filter[grams >> self._shift])
        slots = np.searchsorted(self.grams, grams[positions])
        slots[slots == len(self.grams)] = 0
        same = self.grams[slots] == grams[positions]
        return slots[same], positions[same]

    @cached_property
    def _hashes(self) -> dict[str, int]:
        return _hash_words(self.vocabulary)

    @cached_property
    def _spans(self) -> list[int]:
        return sorted(set(np.minimum(self.lengths, self.ngram).tolist()))

    @cached_property
    def _weights(self) -> np.ndarray:
        """Returns the weight of each run of each passage, in the order of `owners`."""
        slots = np.repeat(np.arange(len(self.grams)), np.diff(self.starts))
        pairs = np.unique(slots << 32 | self.items[self.owners])
        return (1 / np.bincount(pairs >> 32))[slots]

    @cached_property
    def _totals(self) -> np.ndarray:
        """Returns the weight of each passage when it is there whole."""
        firsts, spans = np.cumsum(self.lengths) - self.lengths, np.minimum(self.lengths, self.ngram)
        words, spans = firsts[self.owners] + self.places, spans[self.owners]
        best = np.zeros(self.lengths.sum())
        for offset in range(self.ngram):
            rows = offset < spans
            np.maximum.at(best, words[rows] + offset, self._weights[rows])
        return np.add.reduceat(best, firsts)

    @cached_property
    def _shift(self) -> np.uint64:
        return np.uint64(64 - min(26, max(16, len(self.grams).bit_length() + 4)))

    @cached_property
    def _filter(self) -> np.ndarray:
        """Says of the leading bits of a hash whether any run has them; most runs of clean text end here."""
        table = np.zeros(1 << (64 - int(self._shift)), bool)
        table[self.grams >> self._shift] = True
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in self.__dataclass_fields__}


_NO_HITS = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _hash_words(vocabulary: Iterable[str]) -> dict[str, int]:
    """Returns 64 bits for each word, the same in every process; number words have those of their digits."""
    numbers = dict(enumerate(_SMALL_NUMBERS.split())) | dict(zip(range(20, 100, 10), _TENS.split(), strict=True))
    hashes = {word: _hash(word) for word in vocabulary}
    for value, word in numbers.items():
        hashes[word] = hashes[str(value)] = _hash(str(value))
    return hashes


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())


def _look_up(hashes: dict[str, int], words: Sequence[str]) -> np.ndarray:
    """Returns the words' hashes, 0 for one that no item has."""
    return np.fromiter(map(hashes.get, words, repeat(0)), np.uint64, len(words))


def _grams(hashes: np.ndarray, span: int) -> np.ndarray:
    """Returns a hash of each run of `span` words: a polynomial in the words' hashes, modulo 2**64."""
    count = len(hashes) - span + 1
    total = hashes[:count].copy()
    for offset in range(1, span):
        total *= _FACTOR
        total += hashes[offset : offset + count]
    return total
