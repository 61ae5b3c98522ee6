"""Steps that drop by a score: a classifier's probability, or what a language model makes of the text."""

from __future__ import annotations

from dataclasses import dataclass

from lm.common.protocols import Scorer
from lm.data.curate.classify import fast_text, linear
from lm.data.curate.document import Document, Dropped

_DIGITS = 4  # of a score, in the ledger and in `meta`


@dataclass(frozen=True)
class Classified:
    """Notes a classifier's probability in `meta["scores"]`, and drops what lies above `max` or below `min`."""

    name: str
    model: str  # a directory made by `lm classifier`, or a fastText model
    label: str = ""  # of a fastText model
    min: float = 0.0
    max: float = 1.0

    def __call__(self, document: Document) -> Document | Dropped:
        score = self.probability(document)
        if score > self.max:
            return Dropped(f"{self.name}.max", round(score, _DIGITS), self.max)
        if score < self.min:
            return Dropped(f"{self.name}.min", round(score, _DIGITS), self.min)
        return _noted(document, self.name, score)

    def measure(self, document: Document) -> dict[str, float]:
        """Returns the probability under the name of the limit that it is held against."""
        return {f"{self.name}.{'max' if self.max < 1 else 'min'}": self.probability(document)}

    def probability(self, document: Document) -> float:
        """Returns the probability that a text has the property the classifier was trained for."""
        if self.model.endswith(fast_text.SUFFIXES):
            return fast_text.probability(self.model, self.label, document.text)
        return linear.load(self.model)(document.text)


@dataclass(frozen=True)
class Scored:
    """Notes what a scorer that was handed in says of the text, and drops what lies above `max`."""

    name: str
    scorer: Scorer
    max: float

    def __call__(self, document: Document) -> Document | Dropped:
        score = self.scorer(document.text)
        if score > self.max:
            return Dropped(f"{self.name}.max", round(score, _DIGITS), self.max)
        return _noted(document, self.name, score)

    def measure(self, document: Document) -> dict[str, float]:
        """Returns the score under the name of the limit."""
        return {f"{self.name}.max": self.scorer(document.text)}


def _noted(document: Document, name: str, score: float) -> Document:
    """Returns the document with one more score in its `meta`."""
    return document.changed(scores={**document.meta.get("scores", {}), name: round(score, _DIGITS)})
