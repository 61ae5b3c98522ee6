"""C4's rules for web pages: Raffel et al., Exploring the Limits of Transfer Learning (2020), section 2.2.

Details follow the code that C4 was made with: what is said of a page there is looked for in the lines that are kept,
and lines on cookies and terms of use go too. Its list of bad words is no part of this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules.base import RuleSet, Values
from lm.data.curate.words import sentence_starts, split_words

_CITATIONS = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_CLOSES_LINE = (".", "?", "!", '"', "'")
_ELLIPSIS = "..."


class C4Values(Values):
    """What `C4` measures, of the lines that it keeps."""

    rules: C4

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are kept, without citations."""
        return self._sorted[0]

    @property
    def removed(self) -> dict[str, int]:
        """How many lines go, by reason."""
        return self._sorted[1]

    @cached_property
    def _sorted(self) -> tuple[list[str], dict[str, int]]:
        whole = list(map(str.strip, self.document.text.splitlines()))
        joined = _CITATIONS.sub("", "\n".join(whole))
        lowered = joined.lower()
        policies = [policy for policy in self.rules.policies if policy in lowered]  # of most pages, none
        kept: list[str] = []
        removed = Counter[str]()
        for line, cited, lower in zip(joined.split("\n"), whole, lowered.split("\n"), strict=False):  # no line at all
            if reason := self.rules.objection(line, cited, lower, policies):
                removed[reason] += 1
            else:
                kept.append(line)
        return kept, dict(removed)

    @property
    def lorem_ipsum(self) -> int:
        """Lines of filler text."""
        return sum("lorem ipsum" in line.lower() for line in self.lines)

    @property
    def curly_brackets(self) -> int:
        """Lines with a curly bracket."""
        return sum("{" in line for line in self.lines)

    @property
    def sentences(self) -> int:
        return sum(len(sentence_starts(split_words(line))) for line in self.lines)


@dataclass(frozen=True)
class C4(RuleSet):
    """Keeps the lines that are sentences, without citations, and drops pages with too few of them or with code.

    `terminal_punctuation` asks for a mark at the end of each line; FineWeb did without, as it costs 30 % of the text.
    What was removed stands in `meta["c4_removed"]`, lines by reason.
    """

    name: ClassVar[str] = "c4"
    values: ClassVar[type[Values]] = C4Values

    max_lorem_ipsum: int | None = 0
    max_curly_brackets: int | None = 0
    min_sentences: int | None = 5
    terminal_punctuation: bool = True  # lines that do not end as a sentence go
    line_words: int = 3  # lines of fewer go
    word_characters: int = 1000  # lines with a longer word go
    policies: tuple[str, ...] = (  # lines with one of these go
        "terms of use",
        "privacy policy",
        "cookie policy",
        "uses cookies",
        "use of cookies",
        "use cookies",
    )

    def __call__(self, document: Document) -> Document | Dropped:
        values = C4Values(document, self)
        if dropped := self.broken(values):
            return dropped
        text = "\n".join(values.lines).strip()
        if text == document.text:
            return document
        return document.changed(text, c4_removed=values.removed)

    def objection(self, line: str, cited: str, lowered: str, policies: Sequence[str]) -> str:
        """Returns why a line goes, or nothing where it is kept.

        `cited` is the line with its citations, `lowered` without them in lower case; `policies` are those to look for.
        """
        if len(cited) > self.word_characters and len(max(cited.split(), key=len)) > self.word_characters:
            return "long word"
        if self.terminal_punctuation and (not line.endswith(_CLOSES_LINE) or line.endswith(_ELLIPSIS)):
            return "no terminal punctuation"
        if len(cited.split(None, self.line_words)) < self.line_words:
            return "few words"
        if "lorem ipsum" in lowered:
            return ""  # it is the page that goes
        if "javascript" in lowered:
            return "javascript"
        if "{" not in line and any(policy in lowered for policy in policies):
            return "policy"
        return ""
