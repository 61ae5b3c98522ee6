"""OLMo (Groeneveld et al., 2024): LayerNorm without scale or bias; queries, keys and values kept within bounds."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import ATTENTION, EMBED, HEAD, IGNORED, MLP, read_body, write_body
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

EPSILON = "layer_norm_eps"  # not in their files: their code has 1e-5


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect(EPSILON, 1e-5)
    return ModelConfig(
        **read_body(settings, epsilon=(EPSILON, 1e-5)),
        **parts.read_biases(settings),
        norm="layer",
        norm_scale="none",
        qkv_clip=settings.number("clip_qkv", 0.0, least=0),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_body(cfg, epsilon=EPSILON),
        **parts.write_biases(cfg),
        "clip_qkv": cfg.qkv_clip or None,
    }


FAMILY = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    entries=(EMBED, HEAD, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
