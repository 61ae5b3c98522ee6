"""Counts of what became of the records; sums of tallies are tallies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lm.data.curate.document import Document, Dropped


@dataclass
class Tally:
    """What was read and what became of it.

    `reached` counts the documents that came to each step, `dropped` those that went, by rule; `changed` those whose
    text a step changed. `words` are what stands between white space. Of `watched` documents, kept or not, `observed`
    holds the values that each rule found; `samples` shows a few documents before and after all steps.
    """

    records: int = 0
    watched: int = 0
    kept: int = 0
    words: int = 0
    bytes: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    observed: dict[str, list[float]] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)

    def keep(self, document: Document) -> None:
        """Counts a document that is kept."""
        self.kept += 1
        self.words += len(document.text.split())
        self.bytes += len(document.text.encode())
        self.pii.update(document.meta.get("pii", {}))
        self.languages[document.meta.get("language", "")] += 1

    def drop(self, dropped: Dropped) -> None:
        """Counts a document that goes."""
        self.dropped[dropped.rule] += 1

    def observe(self, values: Mapping[str, float]) -> None:
        """Notes a document's values by rule."""
        for rule, value in values.items():
            self.observed.setdefault(rule, []).append(value)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-able data."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @staticmethod
    def sum(tallies: Iterable[Mapping[str, Any]]) -> Tally:
        """Adds tallies that `to_dict` wrote."""
        total = Tally()
        for tally in tallies:
            for entry in fields(total):
                value, found = getattr(total, entry.name), tally[entry.name]
                if isinstance(value, int):
                    setattr(total, entry.name, value + found)
                elif isinstance(value, Counter):
                    value.update(found)
                elif isinstance(value, list):
                    value.extend(found)
                else:
                    for rule, values in found.items():
                        value.setdefault(rule, []).extend(values)
        return total
