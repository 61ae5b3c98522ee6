"""The families of checkpoints that are known, one file each; in this order an export looks for one that fits."""

from __future__ import annotations

import difflib

from lm.common.errors import UserError
from lm.convert.hf.families import llama, mistral, qwen2, qwen3
from lm.convert.hf.table import Family

FAMILIES: tuple[Family, ...] = (llama.FAMILY, mistral.FAMILY, qwen2.FAMILY, qwen3.FAMILY)


def named(model_type: str, where: str) -> Family:
    """Returns the family called `model_type`, which `where` gave.

    Raises:
        UserError: there is none.
    """
    known = {family.model_type: family for family in FAMILIES}
    if model_type not in known:
        near = difflib.get_close_matches(model_type, known, n=1)
        hint = f"did you mean {near[0]}? known are" if near else "known are"
        raise UserError(f"{where}={model_type}: no such family; {hint} {', '.join(sorted(known))}")
    return known[model_type]
