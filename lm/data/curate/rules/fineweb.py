"""FineWeb's own rules for web pages: Penedo et al., The FineWeb Datasets (2024), section 3.6."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lm.data.curate.marks import SENTENCE_ENDS
from lm.data.curate.rules.base import RuleSet, Values
from lm.data.curate.rules.gopher import Repeats


class FineWebValues(Values):
    """What `FineWeb` measures, of lines that are not blank; of a document without any every share is 0."""

    rules: FineWeb

    @cached_property
    def _lines(self) -> list[str]:
        return [line for line in self.document.lines if line.strip()]

    @property
    def lines_ending_sentence(self) -> float:
        """Share of lines whose last character can end a sentence."""
        return sum(line[-1] in SENTENCE_ENDS for line in self._lines) / max(1, len(self._lines))

    @property
    def short_lines(self) -> float:
        """Share of lines of at most `short_line_characters`."""
        longest = self.rules.short_line_characters
        return sum(len(line) <= longest for line in self._lines) / max(1, len(self._lines))

    @property
    def duplicate_line_characters(self) -> float:
        """Share of characters, line ends aside, in lines that stood before."""
        text = self.document.text
        return Repeats(self._lines).characters / max(1, len(text) - text.count("\n"))

    @property
    def line_ends_per_word(self) -> float:
        return self.document.text.count("\n") / max(1, len(self.document.words))


@dataclass(frozen=True)
class FineWeb(RuleSet):
    """Drops lists, menus and pages that repeat themselves.

    The first three limits are the paper's. For duplicate lines datatrove's default is 0.01, a tenth of the paper's;
    the limit on line ends is datatrove's alone.
    """

    name: ClassVar[str] = "fineweb"
    values: ClassVar[type[Values]] = FineWebValues

    min_lines_ending_sentence: float | None = 0.12
    max_short_lines: float | None = 0.67
    max_duplicate_line_characters: float | None = 0.1
    max_line_ends_per_word: float | None = 0.3
    short_line_characters: int = 30  # what `max_short_lines` calls short
