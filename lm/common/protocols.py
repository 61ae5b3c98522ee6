"""The interfaces by which parts meet that may not import each other."""

from __future__ import annotations

from typing import Any, Protocol


class Evaluator(Protocol):
    """Something the train loop measures every so often; the loop gets it injected and knows no more than this."""

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns figures by name, such as `{"val/loss": 1.5}`."""
        ...


class Scorer(Protocol):
    """Something that gives a text a number, such as a language model its bits per byte; curation gets it injected.

    It is sent to worker processes, so it must be picklable, and opens what it needs on first use.
    """

    def __call__(self, text: str) -> float:
        """Returns the score of one text."""
        ...
