"""Runs of n consecutive words that a text has more than once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np


class _Repeated(NamedTuple):
    """The n-grams that occur more than once: where each starts, ascending, and which of the different ones it is.

    Shapes: starts [occurrences] int64, kinds [occurrences] int64 in [0, kinds), counts [kinds] int64.
    """

    starts: np.ndarray
    kinds: np.ndarray
    counts: np.ndarray


class NGrams:
    """Counts the characters of repeated n-grams of words.

    An n-gram repeats only where both (n-1)-grams in it do. So each length is looked for in what is left of the one
    before, by a pair of numbers that stand for exactly these words: most text has little left at 3, nothing at 5.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        first: dict[str, int] = {}
        numbers = np.fromiter(map(first.setdefault, words, count()), np.int64, len(words))
        self._repeated = [_Repeated(np.arange(len(words)), numbers, np.bincount(numbers))]

    def top(self, n: int) -> int:
        """Returns the characters, spaces between words included, that all occurrences of the commonest n-gram have.

        Among n-grams as common as each other it is the first.
        """
        if len(self._words) < n:
            return 0
        starts, kinds, counts = self._of_length(n)
        occurrences = counts[kinds] if kinds.size else np.ones(1, np.int64)
        first = int(occurrences.argmax())
        start = int(starts[first]) if kinds.size else 0
        return int(occurrences[first]) * len(" ".join(self._words[start : start + n]))

    def duplicate(self, n: int) -> int:
        """Returns the characters of n-grams that occurred before, no word counted twice.

        The text is read from its start: behind an n-gram that occurred before, reading goes on with the next word
        after it, and n-grams that start within it do not count as read.
        """
        starts, kinds, _ = self._of_length(n)
        read: set[int] = set()
        characters = free = 0
        for start, kind in zip(starts.tolist(), kinds.tolist(), strict=True):
            if start < free:
                continue
            if kind in read:
                free = start + n
                characters += len("".join(self._words[start:free]))
            else:
                read.add(kind)
        return characters

    def _of_length(self, n: int) -> _Repeated:
        while len(self._repeated) < n:
            self._repeated.append(_longer(self._repeated[-1]))
        return self._repeated[n - 1]


def _longer(shorter: _Repeated) -> _Repeated:
    """Returns the repeated n-grams that are one word longer than those given."""
    starts, kinds, counts = shorter
    if not starts.size:
        return shorter
    follows = (starts[1:] - starts[:-1] == 1).nonzero()[0]
    if len(follows) < 2:
        return _Repeated(starts[:0], kinds[:0], counts[:0])
    pairs = kinds[follows] * len(counts) + kinds[follows + 1]
    order = pairs.argsort()
    ranked = pairs[order]
    numbers = np.zeros(len(order), np.int64)
    numbers[order[1:]] = (ranked[1:] != ranked[:-1]).cumsum()
    totals = np.bincount(numbers)
    kept = (totals[numbers] > 1).nonzero()[0]
    return _Repeated(starts[follows[kept]], numbers[kept], totals)
