"""What every rule set is: limits with names and sources, and the values of a document that they are held against."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped

_LETTERS = re.compile(r"[^\W\d_]+")


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
        for field in _limits_of(self):
            limit = getattr(self, field)
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
                raise UserError(f"{self.name}.{field}: {limit!r} must be a number, or None for no limit")
        for rule, value, limit, least in self._checks:
            most = getattr(self, f"max_{value}", None) if least else None
            if most is not None and limit > most:
                raise UserError(f"{rule}: {limit} is above max_{value} ({most}); nothing would be kept")

    def __call__(self, document: Document) -> Document | Dropped:
        return self.broken(self.values(document, self)) or document

    def broken(self, values: Values) -> Dropped | None:
        """Returns the first limit that the values of a document break, or None."""
        for rule, name, limit, least in self._checks:
            value = getattr(values, name)
            if value < limit if least else value > limit:
                return Dropped(rule, value, limit)
        return None

    def measure(self, document: Document) -> dict[str, float]:
        """Returns the value that each limit is held against, by rule (such as `gopher_quality.min_words`)."""
        values = self.values(document, self)
        return {check.rule: getattr(values, check.value) for check in self._checks}

    @cached_property
    def _checks(self) -> tuple[_Check, ...]:
        return tuple(
            _Check(f"{self.name}.{field}", field[4:], getattr(self, field), field.startswith("min_"))
            for field in _limits_of(self)
            if getattr(self, field) is not None
        )


class _Check(NamedTuple):
    """A rule, the value that it bounds, and its limit: the least that is kept, or the most."""

    rule: str
    value: str
    limit: float
    least: bool


def _limits_of(rules: RuleSet) -> list[str]:
    return [entry.name for entry in fields(rules) if entry.name.startswith(("min_", "max_"))]


def letters(text: str) -> int:
    """Returns how many characters of a text are letters."""
    return len("".join(_LETTERS.findall(text)))
