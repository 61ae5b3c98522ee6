"""Gopher's rules for web text: Rae et al., Scaling Language Models (2021), section A1.1 and table A1.

Where the paper leaves a choice, it is made as in datatrove (Penedo et al., 2024), with which FineWeb was made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import filterfalse
from typing import ClassVar

from lm.data.curate.marks import SYMBOLS
from lm.data.curate.rules.base import RuleSet, Values
from lm.data.curate.rules.ngrams import NGrams

_ELLIPSES = ("...", "…")
_BULLETS = ("•", "-")
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")


class QualityValues(Values):
    """What `GopherQuality` measures; of an empty document every share is 0."""

    rules: GopherQuality

    @cached_property
    def _others(self) -> list[str]:
        """The words that are not all letters."""
        return list(filterfalse(str.isalpha, self.document.words))

    @cached_property
    def _symbols(self) -> list[str]:
        return list(filter(_is_symbols, self._others))

    @property
    def words(self) -> int:
        """Words, but those of symbols alone."""
        return len(self.document.words) - len(self._symbols)

    @cached_property
    def mean_word_length(self) -> float:
        """Characters per word, but for words of symbols alone."""
        characters = len("".join(self.document.words)) - len("".join(self._symbols))
        return characters / max(1, self.words)

    @property
    def hashes_per_word(self) -> float:
        return self._per_word(self.document.text.count("#"))

    @property
    def ellipses_per_word(self) -> float:
        return self._per_word(sum(map(self.document.text.count, _ELLIPSES)))

    @cached_property
    def _lines(self) -> list[str]:
        return self.document.text.splitlines()

    @property
    def bullet_lines(self) -> float:
        """Share of lines that start with a bullet."""
        return sum(line.lstrip().startswith(_BULLETS) for line in self._lines) / max(1, len(self._lines))

    @property
    def ellipsis_lines(self) -> float:
        """Share of lines that end in an ellipsis."""
        return sum(line.rstrip().endswith(_ELLIPSES) for line in self._lines) / max(1, len(self._lines))

    @property
    def words_with_letter(self) -> float:
        """Share of all words that have a letter."""
        letters = len(self.document.words) - len(self._others) + sum(map(_has_letter, self._others))
        return self._per_word(letters)

    @property
    def stop_words(self) -> int:
        """How many of the stop words there are."""
        return len(frozenset(self.rules.stop_words).intersection(self.document.words))

    def _per_word(self, count: int) -> float:
        return count / max(1, len(self.document.words))


@dataclass(frozen=True)
class GopherQuality(RuleSet):
    """Drops text that does not read like prose."""

    name: ClassVar[str] = "gopher_quality"
    values: ClassVar[type[Values]] = QualityValues

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_length: float | None = 3.0
    max_mean_word_length: float | None = 10.0
    max_hashes_per_word: float | None = 0.1
    max_ellipses_per_word: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_words_with_letter: float | None = 0.8
    min_stop_words: int | None = 2
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")  # for `min_stop_words`


class RepetitionValues(Values):
    """What `GopherRepetition` measures; shares are of the text's characters unless a name says otherwise."""

    @property
    def characters(self) -> int:
        return len(self.document.text)

    @cached_property
    def _paragraph_repeats(self) -> Repeats:
        return Repeats(_PARAGRAPHS.split(self.document.text.strip()))

    @cached_property
    def _line_repeats(self) -> Repeats:
        return Repeats(_LINES.split(self.document.text))

    @cached_property
    def _ngrams(self) -> NGrams:
        return NGrams(self.document.words)

    @property
    def duplicate_paragraphs(self) -> float:
        """Share of paragraphs that stood before."""
        return self._paragraph_repeats.share

    @property
    def duplicate_paragraph_characters(self) -> float:
        return self._paragraph_repeats.characters / max(1, self.characters)

    @property
    def duplicate_lines(self) -> float:
        """Share of lines that stood before."""
        return self._line_repeats.share

    @property
    def duplicate_line_characters(self) -> float:
        return self._line_repeats.characters / max(1, self.characters)

    def _top(self, n: int) -> float:
        return self._ngrams.top(n) / max(1, self.characters)

    def _duplicate(self, n: int) -> float:
        return self._ngrams.duplicate(n) / max(1, self.characters)

    top_2_gram = property(lambda self: self._top(2))
    top_3_gram = property(lambda self: self._top(3))
    top_4_gram = property(lambda self: self._top(4))
    duplicate_5_grams = property(lambda self: self._duplicate(5))
    duplicate_6_grams = property(lambda self: self._duplicate(6))
    duplicate_7_grams = property(lambda self: self._duplicate(7))
    duplicate_8_grams = property(lambda self: self._duplicate(8))
    duplicate_9_grams = property(lambda self: self._duplicate(9))
    duplicate_10_grams = property(lambda self: self._duplicate(10))


@dataclass(frozen=True)
class GopherRepetition(RuleSet):
    """Drops text that says the same again: in its paragraphs, its lines, or n consecutive words."""

    name: ClassVar[str] = "gopher_repetition"
    values: ClassVar[type[Values]] = RepetitionValues

    min_characters: int | None = 1
    max_duplicate_paragraphs: float | None = 0.30
    max_duplicate_paragraph_characters: float | None = 0.20
    max_duplicate_lines: float | None = 0.30
    max_duplicate_line_characters: float | None = 0.20
    max_top_2_gram: float | None = 0.20
    max_top_3_gram: float | None = 0.18
    max_top_4_gram: float | None = 0.16
    max_duplicate_5_grams: float | None = 0.15
    max_duplicate_6_grams: float | None = 0.14
    max_duplicate_7_grams: float | None = 0.13
    max_duplicate_8_grams: float | None = 0.12
    max_duplicate_9_grams: float | None = 0.11
    max_duplicate_10_grams: float | None = 0.10


class Repeats:
    """How many of some pieces of text stood before (`share` of the pieces), and how many characters they have."""

    def __init__(self, pieces: list[str]) -> None:
        different = set(pieces)
        self.share = (len(pieces) - len(different)) / max(1, len(pieces))
        self.characters = len("".join(pieces)) - len("".join(different)) if self.share else 0


@lru_cache(1 << 16)
def _is_symbols(word: str) -> bool:
    return SYMBOLS.issuperset(word)


@lru_cache(1 << 16)
def _has_letter(word: str) -> bool:
    return any(map(str.isalpha, word))
