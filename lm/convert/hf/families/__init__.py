"""The families of checkpoints that are known, one file each; in this order an export looks for one that fits."""

from __future__ import annotations

import difflib

from lm.common.errors import UserError
from lm.convert.hf.families import (
    cohere,
    deepseek_v2,
    deepseek_v3,
    diffllama,
    gemma,
    gemma2,
    gemma3,
    gpt2,
    gpt_neox,
    gpt_oss,
    granite,
    llama,
    mamba,
    mistral,
    mixtral,
    olmo,
    olmo2,
    olmoe,
    phi,
    phi3,
    qwen2,
    qwen2_moe,
    qwen3,
    qwen3_moe,
    recurrent_gemma,
    smollm3,
    stablelm,
    starcoder2,
)
from lm.convert.hf.table import Family

FAMILIES: tuple[Family, ...] = (
    llama.FAMILY,
    mistral.FAMILY,
    qwen2.FAMILY,
    qwen3.FAMILY,
    smollm3.FAMILY,
    granite.FAMILY,
    olmo2.FAMILY,
    olmo.FAMILY,
    gemma.FAMILY,
    gemma2.FAMILY,
    gemma3.FAMILY,
    stablelm.FAMILY,
    starcoder2.FAMILY,
    gpt2.FAMILY,
    gpt_neox.FAMILY,
    phi.FAMILY,
    phi3.FAMILY,
    cohere.FAMILY,
    mixtral.FAMILY,
    qwen3_moe.FAMILY,
    qwen2_moe.FAMILY,
    olmoe.FAMILY,
    gpt_oss.FAMILY,
    deepseek_v2.FAMILY,
    deepseek_v3.FAMILY,
    diffllama.FAMILY,
    mamba.FAMILY,
    recurrent_gemma.FAMILY,
)


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
