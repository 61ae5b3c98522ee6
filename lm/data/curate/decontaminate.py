"""Keeps training text clear of benchmarks: drops the documents that hold an item, or cuts the item out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from lm.common.errors import UserError
from lm.data.curate.benchmarks import read_items
from lm.data.curate.document import Document, Dropped
from lm.data.curate.leaks import Index, Leak, normalised_words

_CHUNK = re.compile(r"\S+")
_ACTIONS = ("drop", "cut")


@dataclass(frozen=True)
class Decontaminate:
    """Drops documents that hold at least `coverage` of an item; `action` "cut" takes out the passage alone.

    What an item shares with others counts less (see `leaks`). At least `min_covered` words must be there besides, or
    all of a shorter item: most of a few words is a phrase. A cut takes what the item fills as far as it is known: what
    stands around it, such as a short answer, stays. The names of what was cut are in `meta["decontaminated"]`.

    Raises:
        UserError: an unknown action, or a coverage outside (0, 1].
    """

    index: Index
    coverage: float = 0.6
    min_covered: int = 10
    action: str = "drop"
    name: str = "decontaminate"

    def __post_init__(self) -> None:
        if self.action not in _ACTIONS:
            raise UserError(f"{self.name}.action={self.action!r}: take one of {', '.join(_ACTIONS)}")
        if not 0 < self.coverage <= 1:
            raise UserError(f"{self.name}.coverage={self.coverage}: must be above 0 and at most 1")

    def __call__(self, document: Document) -> Document | Dropped:
        leaks = self.index.find(normalised_words(document.text), self.coverage, self.min_covered)
        if not leaks:
            return document
        worst = max(leaks, key=lambda leak: leak.coverage)
        dropped = Dropped(f"{self.name}.coverage", f"{worst.name} {worst.coverage:.2f}", self.coverage)
        if self.action == "drop":
            return dropped
        text = cut(document.text, leaks)
        names = list(dict.fromkeys(leak.name for leak in leaks))
        return document.changed(text, decontaminated=names) if text else dropped


def index_benchmarks(paths: Sequence[Path], *, keys: tuple[str, ...] = (), ngram: int = 5, min_words: int = 8) -> Index:
    """Reads benchmark files and indexes their items, each called after its file, or its path if two files share a name.

    `keys` name the text of JSON Lines whose layout is none of the known ones.

    Raises:
        UserError: a file that cannot be read as a benchmark, or no item long enough.
    """
    shared = Counter(path.name for path in paths)
    names = [path.name if shared[path.name] == 1 else path.as_posix() for path in paths]
    items = (item for path, name in zip(paths, names, strict=True) for item in read_items(path, keys, name))
    return Index.build(items, ngram=ngram, min_words=min_words)


def cut(text: str, leaks: list[Leak]) -> str:
    """Returns the text without the words of the leaks (in order of their start), an empty line in their place."""
    chunks = list(_CHUNK.finditer(text))
    # a chunk between spaces has the same words as in the whole text, so that counting them leads back to its place
    ends = list(accumulate(len(normalised_words(chunk[0])) for chunk in chunks))
    kept, begin = [], 0
    for leak in leaks:
        first, last = bisect_right(ends, leak.start), bisect_right(ends, leak.stop - 1)
        kept.append(text[begin : chunks[first].start()])
        begin = max(begin, chunks[last].end())
    kept.append(text[begin:])
    return "\n\n".join(part.strip() for part in kept if part.strip())
