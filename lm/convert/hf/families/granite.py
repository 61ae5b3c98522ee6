"""Granite 3 (IBM, 2024): a Llama whose embeddings, branches, scores and logits are each multiplied by a constant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lm.convert.hf.families import llama
from lm.convert.hf.families.parts import scale_of
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    return replace(
        llama.read_config(settings),
        attention_scale=settings.number("attention_multiplier", 1.0),
        embedding_scale=settings.number("embedding_multiplier", 1.0),
        residual_scale=settings.number("residual_multiplier", 1.0),
        logit_scale=1.0 / settings.number("logits_scaling", 1.0, positive=True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **llama.write_config(cfg),
        "attention_multiplier": scale_of(cfg),
        "embedding_multiplier": cfg.embedding_scale,
        "residual_multiplier": cfg.residual_scale,
        # Rounded: 49, not 49.00000000000001.
        "logits_scaling": float(f"{1.0 / cfg.logit_scale:.12g}") if cfg.logit_scale else 1.0,
    }


FAMILY = Family(
    model_type="granite",
    architecture="GraniteForCausalLM",
    entries=llama.FAMILY.entries,
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
