"""DeepSeek-V3 and R1 (DeepSeek-AI, 2024b): V2 whose experts score by sigmoids, balanced by a bias on the choice."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families.deepseek_v2 import (
    ENTRIES,
    read_experts,
    read_groups,
    read_latent,
    write_experts,
    write_latent,
)
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig


def further(settings: Settings) -> int:
    """Returns how many heads that predict further tokens are stored as layers after the last, under either name."""
    return max(settings.integer(key, 0) for key in ("num_nextn_predict_layers", "num_mtp_layers"))


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture; heads that predict further tokens are left out.

    Raises:
        UserError: a feature that ours does not have.
    """
    values = read_latent(settings)
    further(settings)
    settings.expect("rope_interleave", True)
    settings.expect("scoring_func", "sigmoid")
    settings.expect("topk_method", "noaux_tc")
    routing: dict[str, Any] = {
        "score": "sigmoid",
        "balance": "bias",
        "normalise": settings.flag("norm_topk_prob", True),
    }
    if groups := read_groups(settings):
        routing |= {**groups, "group_score": "top2"}
    return ModelConfig(**values, moe=read_experts(settings, values["n_layers"], **routing))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_latent(cfg),
        **write_experts(cfg),
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": cfg.moe.normalise,
        "rope_interleave": True,
        "num_nextn_predict_layers": 0,
    }


FAMILY = Family(
    model_type="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    further=further,
)
