"""Gopher's rules for text that they were not made for: mathematics and books.

No limits are published for these as for web text; ours are Gopher's, moved only as far as such text needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lm.data.curate.rules.base import Values
from lm.data.curate.rules.gopher import GopherQuality, QualityValues, RepetitionValues

_UNREADABLE = "\ufffd"


class MathValues(QualityValues, RepetitionValues):
    """What `Math` measures."""


@dataclass(frozen=True)
class Math(GopherQuality):
    """Drops what is neither prose nor working.

    A text has at least 100 characters, as in OpenWebMath (Paster et al., 2023). Formulas are made of short words and
    of words without letters, solutions may be short, use no stop word, and repeat themselves from step to step: the
    limits are such that all of GSM8K (Cobbe et al., 2021) is kept, where Gopher's drop nearly all of it.
    """

    name: ClassVar[str] = "math"
    values: ClassVar[type[Values]] = MathValues

    min_words: int | None = 20
    min_mean_word_length: float | None = 1.5
    max_hashes_per_word: float | None = 0.2
    min_words_with_letter: float | None = 0.2
    min_stop_words: int | None = None
    min_characters: int | None = 100
    max_duplicate_lines: float | None = 0.3
    max_duplicate_line_characters: float | None = 0.2
    max_duplicate_10_grams: float | None = 0.3


class BookValues(QualityValues):
    """What `Books` measures."""

    @property
    def unreadable(self) -> float:
        """Share of characters that stand for what could not be decoded."""
        return self.document.text.count(_UNREADABLE) / max(1, len(self.document.text))

    @property
    def single_letters(self) -> float:
        """Share of words of one letter."""
        words = self.document.words
        return sum(len(word) == 1 and word.isalpha() for word in words) / max(1, len(words))


@dataclass(frozen=True)
class Books(GopherQuality):
    """Drops fragments, tables, and scans that were read badly.

    Books have no upper limit of length, and what is said in them brings more marks to a word. A scan read badly has
    characters that are none, and words fallen to single letters, of which English prose has less than one in ten.
    """

    name: ClassVar[str] = "books"
    values: ClassVar[type[Values]] = BookValues

    min_words: int | None = 1_000
    max_words: int | None = None
    min_words_with_letter: float | None = 0.65
    max_unreadable: float | None = 0.001
    max_single_letters: float | None = 0.2
