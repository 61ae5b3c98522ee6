"""Gemma 2 (Gemma Team, 2024): norms around each branch, bounded scores and logits, a window in every other layer."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families.gemma import read_common, write_common
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP
from lm.convert.hf.families.parts import FULL, SLIDING, read_windows, scale_of, write_windows
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

SANDWICH = (
    Entry("model.layers.{i}.input_layernorm.weight", "layers.{i}.mixer_norm.scale"),
    Entry("model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.mixer_post_norm.scale"),
    Entry("model.layers.{i}.pre_feedforward_layernorm.weight", "layers.{i}.mlp_norm.scale"),
    Entry("model.layers.{i}.post_feedforward_layernorm.weight", "layers.{i}.mlp_post_norm.scale"),
)


def read_sandwich(settings: Settings, every: int, softcaps: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    """Reads what Gemma 2 and 3 have, and returns it under our names.

    `every` is which layers attend to all where the file does not say, `softcaps` the bounds of scores and logits; null
    is none.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.drop("hidden_act", "sliding_window_size")
    shape = read_common(settings, "hidden_activation")
    types = [FULL if (i + 1) % every == 0 else SLIDING for i in range(shape["n_layers"])]
    return shape | {
        "norm_placement": "sandwich",
        "window": read_windows(settings, types, settings.integer("sliding_window", 4096, least=1)),
        "attention_scale": settings.integer("query_pre_attn_scalar", 256, least=1) ** -0.5,
        "attention_softcap": settings.number("attn_logit_softcapping", softcaps[0], least=0, null=0.0),
        "logit_softcap": settings.number("final_logit_softcapping", softcaps[1], least=0, null=0.0),
    }


def write_sandwich(cfg: ModelConfig) -> dict[str, Any]:
    """Returns what Gemma 2 and 3 have under their names."""
    return {
        **write_common(cfg, "hidden_activation"),
        **write_windows(cfg),
        "query_pre_attn_scalar": round(scale_of(cfg) ** -2),
        "attn_logit_softcapping": cfg.attention_softcap or None,
        "final_logit_softcapping": cfg.logit_softcap or None,
    }


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = read_sandwich(settings, every=2, softcaps=(50.0, 30.0))
    return ModelConfig(**shape, rope=rope.read(settings, shape["max_seq_len"]))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_sandwich(cfg), **rope.write(cfg)}


FAMILY = Family(
    model_type="gemma2",
    architecture="Gemma2ForCausalLM",
    entries=(*ENDS, *SANDWICH, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
