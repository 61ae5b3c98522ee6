"""Rule sets: named limits with their sources, for each kind of text those that were made for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.rules.base import RuleSet
from lm.data.curate.rules.c4 import C4
from lm.data.curate.rules.code import Code
from lm.data.curate.rules.dialogue import Dialogue
from lm.data.curate.rules.fineweb import FineWeb
from lm.data.curate.rules.gopher import GopherQuality, GopherRepetition
from lm.data.curate.rules.relaxed import Books, Math

RULE_SETS: dict[str, type[RuleSet]] = {
    kind.name: kind for kind in (GopherQuality, GopherRepetition, C4, FineWeb, Code, Dialogue, Books, Math)
}

# What each kind of text is held against, in order.
DOMAINS: dict[str, tuple[str, ...]] = {
    "web": ("gopher_quality", "gopher_repetition", "c4", "fineweb"),
    "code": ("code",),
    "dialogue": ("dialogue",),
    "books": ("books", "gopher_repetition"),
    "math": ("math",),
}


def from_config(name: str, overrides: Mapping[str, Any]) -> RuleSet:
    """Returns the rule set of a name, with other limits where `overrides` has them (None for no limit).

    Raises:
        UserError: a rule set or limit that there is none of, or a limit out of its range.
    """
    if name not in RULE_SETS:
        raise UserError(f"rules: no rule set {name!r}; {_hint(name, RULE_SETS)}")
    known = [entry.name for entry in fields(RULE_SETS[name])]
    for limit in overrides:
        if limit not in known:
            raise UserError(f"rules.{name}: no limit {limit!r}; {_hint(limit, known)}")
    return RULE_SETS[name](
        **{limit: tuple(value) if isinstance(value, list) else value for limit, value in overrides.items()}
    )


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
