"""Rules for conversations, after what Meena (Adiwardana et al., 2020) and DialoGPT (Zhang et al., 2020) learned from.

Both chose single messages; here the same is asked of the turns of a conversation taken together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lm.data.curate.rules.base import RuleSet, Values, letters
from lm.data.curate.rules.gopher import Repeats

# A line opens a turn with who speaks: "Anna: Hello", "First Citizen:".
_SPEAKER = re.compile(r"^[ \t]*[^\W\d_][^:\n]{0,39}:(?=\s|\Z)", re.MULTILINE)
_LINK = re.compile(r"https?://|\bwww\.", re.IGNORECASE)


class DialogueValues(Values):
    """What `Dialogue` measures; of a text without turns every value is 0."""

    @cached_property
    def _turns(self) -> list[str]:
        """What is said in each turn: from speaker to speaker where at least two lines name one, or else each line."""
        text = self.document.text
        speakers = list(_SPEAKER.finditer(text))
        if len(speakers) < 2:
            said = text.split("\n")
        else:
            ends = [*(speaker.start() for speaker in speakers[1:]), len(text)]
            said = [text[speaker.end() : end] for speaker, end in zip(speakers, ends, strict=True)]
        return [turn for turn in map(str.strip, said) if turn]

    @property
    def turns(self) -> int:
        return len(self._turns)

    @property
    def mean_turn_words(self) -> float:
        """Words per turn, its marks and speaker included."""
        return len(self.document.words) / max(1, self.turns)

    @property
    def letters(self) -> float:
        """Share of characters, white space aside, that are letters."""
        return letters(self.document.text) / max(1, len("".join(self.document.text.split())))

    @property
    def turns_with_link(self) -> float:
        """Share of turns with the address of a page."""
        return sum(map(bool, map(_LINK.search, self._turns))) / max(1, self.turns)

    @property
    def duplicate_turns(self) -> float:
        """Share of turns that stood before."""
        return Repeats(self._turns).share


@dataclass(frozen=True)
class Dialogue(RuleSet):
    """Drops what is no exchange, or one of symbols, links and the same words again.

    Words per turn (Meena: 2 to 128 word pieces a message) and letters are Meena's. Both works drop a message with a
    link; that a fifth of the turns may have one is our own limit. Duplicate turns are held against Gopher's limit on
    duplicate lines.
    """

    name: ClassVar[str] = "dialogue"
    values: ClassVar[type[Values]] = DialogueValues

    min_turns: int | None = 2
    min_mean_turn_words: float | None = 2.0
    max_mean_turn_words: float | None = 128.0
    min_letters: float | None = 0.7
    max_turns_with_link: float | None = 0.2
    max_duplicate_turns: float | None = 0.3
