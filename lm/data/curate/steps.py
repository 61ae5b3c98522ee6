"""The steps a curation can be made of, by name; each is configured by the section of its own name.

The order of a chain is the order of `config.steps`. `dedup` in it is no step but the place where the documents of the
whole input are compared: what stands before it is done to each document alone, what stands behind it to survivors.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.data.curate.document import Step

PIVOT = "dedup"


def kinds() -> dict[str, type]:
    """Returns the class of every step that is no more than its own keys."""
    from lm.data.curate.extract import Extract
    from lm.data.curate.language import Language
    from lm.data.curate.pii import RemovePII
    from lm.data.curate.repair import Repair
    from lm.data.curate.rules import RULE_SETS
    from lm.data.curate.secrets import RemoveSecrets

    return {
        "extract": Extract,
        "repair": Repair,
        "language": Language,
        **RULE_SETS,
        "pii": RemovePII,
        "secrets": RemoveSecrets,
    }


def defaults() -> ConfigDict:
    """Returns a section of keys for each step, with its defaults."""
    return ConfigDict({name: _keys(kind) for name, kind in kinds().items()})


def _keys(kind: type) -> dict[str, Any]:
    return {
        entry.name: entry.default for entry in dataclasses.fields(kind) if entry.init and entry.name not in ("name",)
    }


def split(names: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Returns the names before the pivot, whether there is one, and those behind it.

    Raises:
        UserError: a name that is not known, or stands twice.
    """
    for name in names:
        if name not in (*known, PIVOT):
            near = difflib.get_close_matches(name, [*known, PIVOT], n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted([*known, PIVOT]))}"
            raise UserError(f"config.steps: {name!r} is no step; {hint}")
        if list(names).count(name) > 1:
            raise UserError(f"config.steps: {name} stands there twice; a step runs once")
    if PIVOT not in names:
        return tuple(names), False, ()
    at = list(names).index(PIVOT)
    return tuple(names[:at]), True, tuple(names[at + 1 :])


def build(name: str, section: Mapping[str, Any]) -> Step:
    """Returns the step of a name with the values of its section.

    Raises:
        UserError: a value out of its range.
    """
    return kinds()[name](**{key: tuple(value) if isinstance(value, list) else value for key, value in section.items()})
