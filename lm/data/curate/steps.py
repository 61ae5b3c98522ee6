"""The steps a curation can be made of, by name; each is configured by the section of its own name.

The order of a chain is the order of `config.steps`. `dedup` in it is no step but the place where the documents of the
whole input are compared: what stands before it is done to each document alone, what stands behind it to survivors.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, config_dict

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


def explanations() -> dict[str, str]:
    """Returns what each key means: of a limit, the value it bounds; of another, the comment beside it."""
    found = {}
    for name, kind in kinds().items():
        found[name] = (inspect.getdoc(kind) or "").split("\n")[0]
        comments = _comments(kind)
        for entry in _fields(kind):
            least, _, value = entry.name.partition("_")
            measured = getattr(getattr(kind, "values", None), value, None) if least in ("min", "max") else None
            said = _summary(measured) or value.replace("_", " ") if measured else comments.get(entry.name, "")
            found[f"{name}.{entry.name}"] = f"{_BOUNDS[least]}: {said}" if measured else said
    return found


_BOUNDS = {"min": "at least", "max": "at most"}


def _summary(measured: Any) -> str:
    """Returns the sentence that a property or cached property is described by, uncapitalised."""
    text = getattr(measured, "__doc__", "") or ""
    sentence = text.split(";")[0].split(". ")[0].strip().rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _comments(kind: type) -> dict[str, str]:
    """Returns the comments beside the fields of a class and of those it is made from."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        for line in inspect.getsource(part).splitlines():
            key, colon, rest = line.strip().partition(":")
            if colon and key.isidentifier() and "  # " in rest:
                found[key] = rest.split("  # ", 1)[1]
    return found


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    return [entry for entry in dataclasses.fields(kind) if entry.init and entry.name != "name"]


def _keys(kind: type) -> dict[str, Any]:
    """Returns the fields with their defaults; a limit that is off by default can be set to a number."""
    return {
        entry.name: config_dict.placeholder(float) if entry.default is None else entry.default
        for entry in _fields(kind)
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
