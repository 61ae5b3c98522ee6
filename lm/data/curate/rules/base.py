"""What every rule set is: limits with names and sources, and the values of a document that they are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped


class Values:
    """What a rule set measures of one document, a property for each value, computed when a limit asks for it."""

    def __init__(self, document: Document, rules: Any) -> None:
        self.document = document
        self.rules = rules


@dataclass(frozen=True)
class RuleSet:
    """A step that drops documents outside its limits.

    Its fields are the limits, in the order they are looked at: `min_x` and `max_x` bound the property `x` of `values`,
    and None takes a limit away. What lies on a limit is kept. Other fields say how values are measured.

    Raises:
        UserError: a limit that is no number, or two that nothing lies between.
    """

    name: ClassVar[str]
    values: ClassVar[type[Values]]

    def __post_init__(self) -> None:
        for field, _, _ in _limits(type(self)):
            limit = getattr(self, field)
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
                raise UserError(f"{self.name}.{field}: {limit!r} must be a number, or None for no limit")
            other = getattr(self, field.replace("min_", "max_", 1), None) if field.startswith("min_") else None
            if limit is not None and other is not None and limit > other:
                raise UserError(
                    f"{self.name}.{field}: {limit} is above max_{field[4:]} ({other}); nothing would be kept"
                )

    def __call__(self, document: Document) -> Document | Dropped:
        return self.broken(self.values(document, self)) or document

    def broken(self, values: Values) -> Dropped | None:
        """Returns the first limit that the values of a document break, or None."""
        for field, measured, least in _limits(type(self)):
            limit = getattr(self, field)
            if limit is None:
                continue
            value = getattr(values, measured)
            if value < limit if least else value > limit:
                return Dropped(f"{self.name}.{field}", value, limit)
        return None

    def measure(self, document: Document) -> dict[str, float]:
        """Returns the value that each limit is held against, by rule (such as `gopher_quality.min_words`)."""
        values = self.values(document, self)
        return {f"{self.name}.{field}": getattr(values, measured) for field, measured in self._set()}

    def limits(self) -> dict[str, float]:
        """Returns each limit by rule."""
        return {f"{self.name}.{field}": getattr(self, field) for field, _ in self._set()}

    def _set(self) -> Iterator[tuple[str, str]]:
        return ((field, measured) for field, measured, _ in _limits(type(self)) if getattr(self, field) is not None)


@cache
def _limits(kind: type[RuleSet]) -> tuple[tuple[str, str, bool], ...]:
    """Returns each limit's field, the value it bounds, and whether it is the least that is kept."""
    names = [entry.name for entry in fields(kind)]
    return tuple((name, name[4:], name.startswith("min_")) for name in names if name.startswith(("min_", "max_")))
