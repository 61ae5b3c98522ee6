"""fastText models (Joulin et al., 2016) by path: the probability of one of their labels."""

from __future__ import annotations

import functools
from typing import Any

from lm.common.errors import UserError

SUFFIXES = (".bin", ".ftz")
_PREFIX = "__label__"


def check(path: str, label: str) -> None:
    """Opens a model and looks for the label.

    Raises:
        UserError: no fastText here, no model there, or no such label in it.
    """
    probability(path, label, "")


def probability(path: str, label: str, text: str) -> float:
    """Returns the probability of a label, given with or without `__label__`, for a text.

    Raises:
        UserError: as `check`.
    """
    # Below `predict`, which in one of the two packages that give this module cannot do with numpy 2.
    found = {name: share for share, name in _load(path).f.predict(" ".join(text.split()) + "\n", -1, 0.0, "strict")}
    name = _PREFIX + label.removeprefix(_PREFIX)
    if name not in found:
        known = ", ".join(sorted(key.removeprefix(_PREFIX) for key in found))
        raise UserError(f"{path}: has no label {label!r}; it has {known}")
    return min(float(found[name]), 1.0)  # fastText adds 1e-5 to what it takes the logarithm of


@functools.cache
def _load(path: str) -> Any:
    try:
        import fasttext
    except ImportError as error:
        raise UserError(f"{path}: needs fastText; pip install fasttext-predict") from error
    try:
        return fasttext.load_model(path)
    except ValueError as error:
        raise UserError(f"{path}: not a fastText model ({error}); give a .bin or .ftz of a supervised one") from error
