"""Rules for source code, as StarCoder's (Li et al., 2023) and StarCoder2's (Lozhkov et al., 2024) data were chosen.

The limits on lines go back to Codex (Chen et al., 2021).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lm.data.curate.rules.base import RuleSet, Values, letters

_GENERATED = re.compile(
    r"auto-?generated|automatically generated|generated automatically|this file is generated"
    r"|code generated .{0,200} do not edit",  # Go's convention
    re.IGNORECASE,
)
_GENERATED_WITHIN = 5  # lines
_GENERATED_LINE = 1000  # characters of each
_XML = "<?xml version="
_XML_WITHIN = 100  # characters
_ENCODED = re.compile(
    r"[A-Za-z0-9+/\n=]{64,}"  # base64
    r"|(?:(?:\b0x|\\x|\b)[0-9a-fA-F]{2}(?:,|\b)\s*){8,}"  # bytes
    r"|(?:\\u[0-9a-fA-F]{4}){8,}"
)


class CodeValues(Values):
    """What `Code` measures; of an empty file every value is 0."""

    @cached_property
    def _line_lengths(self) -> list[int]:
        return list(map(len, self.document.text.splitlines())) or [0]

    @property
    def lines(self) -> int:
        return len(self.document.text.splitlines())

    @property
    def mean_line_length(self) -> float:
        """Characters per line."""
        return sum(self._line_lengths) / len(self._line_lengths)

    @property
    def line_length(self) -> int:
        """Characters of the longest line."""
        return max(self._line_lengths)

    @property
    def letters(self) -> float:
        """Share of characters that are letters."""
        return letters(self.document.text) / max(1, len(self.document.text))

    @property
    def generated_marks(self) -> int:
        """How often the first lines say that a program wrote them."""
        head = self.document.text.split("\n", _GENERATED_WITHIN)[:_GENERATED_WITHIN]
        return sum(len(_GENERATED.findall(line[:_GENERATED_LINE])) for line in head)

    @property
    def xml_declarations(self) -> int:
        """How often the file starts as XML does."""
        return self.document.text[:_XML_WITHIN].count(_XML)

    @cached_property
    def _encoded(self) -> list[int]:
        return [match.end() - match.start() for match in _ENCODED.finditer(self.document.text)]

    @property
    def encoded_run(self) -> int:
        """Characters of the longest run of bytes in base64, in hexadecimal digits, or of escaped characters."""
        return max(self._encoded, default=0)

    @property
    def encoded(self) -> float:
        """Share of characters in such runs."""
        return sum(self._encoded) / max(1, len(self.document.text))


@dataclass(frozen=True)
class Code(RuleSet):
    """Drops data, minified and generated files.

    Letters are counted as for StarCoder2; the older share of letters and digits (0.25 too) would let tables of numbers
    through.
    """

    name: ClassVar[str] = "code"
    values: ClassVar[type[Values]] = CodeValues

    max_lines: int | None = 100_000
    max_mean_line_length: float | None = 100.0
    max_line_length: int | None = 1000
    min_letters: float | None = 0.25
    max_generated_marks: int | None = 0
    max_xml_declarations: int | None = 0
    max_encoded_run: int | None = 1024
    max_encoded: float | None = 0.5
