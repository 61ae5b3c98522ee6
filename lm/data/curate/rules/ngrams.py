"""Runs of n consecutive words that a text has more than once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np


class _Repeated(NamedTuple):
    """The n-grams that occur more than once: where each starts, ascending, and which of the different ones it is.

    Shapes: starts [occurrences] int64, kinds [occurrences] int64, counts [kinds] int64 (0 for a kind that is none).
    """

    starts: np.ndarray
    kinds: np.ndarray
    counts: np.ndarray


class NGrams:
    """Counts characters in repeated n-grams of words.

    An n-gram repeats only where both (n-1)-grams in it do. So each length is looked for among what is left of the one
    before, by a pair of small numbers that stand for exactly these words: most text has little left at 3 and nothing
    at 5.
    """

    def __init__(self, words: Sequence[str]) -> None:
        different = dict(zip(dict.fromkeys(words), count(), strict=False))
        numbers = np.fromiter(map(different.__getitem__, words), np.int64, len(words))
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self._ends = np.concatenate(([0], np.cumsum(lengths)))
        counts = np.bincount(numbers)
        starts = (counts[numbers] > 1).nonzero()[0]
        self._found = [_Repeated(starts, numbers[starts], counts)]

    def top(self, n: int) -> int:
        """Returns the characters, spaces between words included, that all occurrences of the commonest n-gram have.

        Among n-grams as common as each other it is the first.
        """
        if len(self._ends) <= n:
            return 0
        starts, kinds, counts = self._repeated(n)
        if not starts.size:
            return self._characters(0, n) + n - 1
        occurrences = counts[kinds]
        first = int(occurrences.argmax())
        return int(occurrences[first]) * (self._characters(int(starts[first]), n) + n - 1)

    def duplicate(self, n: int) -> int:
        """Returns the characters of n-grams that occurred before, no word counted twice.

        The text is read from its start: behind an n-gram that occurred before, reading goes on with the next word
        after it, and n-grams that start within it do not count as read.
        """
        starts, kinds, _ = self._repeated(n)
        read: set[int] = set()
        characters = free = 0
        for start, kind in zip(starts.tolist(), kinds.tolist(), strict=True):
            if start < free:
                continue
            if kind in read:
                characters += self._characters(start, n)
                free = start + n
            else:
                read.add(kind)
        return characters

    def _characters(self, start: int, n: int) -> int:
        return int(self._ends[start + n] - self._ends[start])

    def _repeated(self, n: int) -> _Repeated:
        while len(self._found) < n:
            self._found.append(_longer(self._found[-1]))
        return self._found[n - 1]


def _longer(shorter: _Repeated) -> _Repeated:
    """Returns the repeated n-grams that are one word longer than those given."""
    starts, kinds, counts = shorter
    if not starts.size:
        return shorter
    follows = (starts[1:] == starts[:-1] + 1).nonzero()[0]
    pairs = kinds[follows] * len(counts) + kinds[follows + 1]
    order = pairs.argsort(kind="stable")
    ranked = pairs[order]
    changes = np.empty(ranked.size, bool)
    changes[:1] = False
    np.not_equal(ranked[1:], ranked[:-1], out=changes[1:])
    numbers = np.empty_like(order)
    numbers[order] = changes.cumsum()
    totals = np.bincount(numbers)
    kept = (totals[numbers] > 1).nonzero()[0]
    return _Repeated(starts[follows[kept]], numbers[kept], totals)
