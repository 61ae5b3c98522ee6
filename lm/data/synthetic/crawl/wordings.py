"""Labelled sentences: templates of two classes in two splits that have no template in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lm.data.synthetic.crawl.prose import Slots, capital
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.names import Split


@dataclass(frozen=True)
class Wordings:
    """Templates of sentences that show a property (`positive`) and that only look like it (`negative`), by split.

    Both splits fill their templates from the same `slots`: a classifier can carry over the vocabulary, not the
    sentences. The slots person, other, place and thing are entities of the world.
    """

    slots: Mapping[str, tuple[str, ...]]
    positive: Mapping[Split, tuple[str, ...]]
    negative: Mapping[Split, tuple[str, ...]]

    def show(self, cast: Cast, split: Split) -> str:
        """Returns a sentence that shows the property."""
        return self._fill(cast, self.positive[split])

    def resemble(self, cast: Cast, split: Split) -> str:
        """Returns a sentence that shares words with the property and does not have it."""
        return self._fill(cast, self.negative[split])

    def _fill(self, cast: Cast, templates: tuple[str, ...]) -> str:
        return capital(_Slots(cast, self.slots).fill(cast.one(templates)))


class _Slots(Slots):
    """Slots in which `other` is one more person."""

    def __getitem__(self, slot: str) -> str:
        return super().__getitem__("person" if slot == "other" else slot)
