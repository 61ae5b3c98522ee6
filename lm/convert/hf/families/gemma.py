"""Gemma (Gemma Team, 2024): embeddings times the root of the width, norms' scales stored less one, GELU by tanh."""

from __future__ import annotations

import math
from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, NORMS, read_shape, write_shape
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig


def read_common(settings: Settings, activation: str) -> dict[str, Any]:
    """Reads what all Gemmas have, and returns it under our names; `activation` is the key of that.

    Raises:
        UserError: attention that looks ahead.
    """
    settings.expect("use_bidirectional_attention", False)
    settings.drop("cache_implementation")
    shape = read_shape(settings, activation=(activation, "gelu_pytorch_tanh"))
    return shape | {
        "norm_scale": "one_plus",
        **parts.read_biases(settings),
        "embedding_scale": math.sqrt(shape["d_model"]),
        "tie_embeddings": settings.flag("tie_word_embeddings", True),
    }


def write_common(cfg: ModelConfig, activation: str) -> dict[str, Any]:
    """Returns what all Gemmas have under their names."""
    return {**write_shape(cfg, activation=activation), **parts.write_biases(cfg)}


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.drop("hidden_activation")
    shape = read_common(settings, "hidden_act")
    if shape["mlp"] == "geglu":  # the first files say `gelu` and mean its approximation
        shape["mlp"] = "geglu_tanh"
    return ModelConfig(**shape, rope=rope.read(settings, shape["max_seq_len"]))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_common(cfg, "hidden_act"), **rope.write(cfg)}


FAMILY = Family(
    model_type="gemma",
    architecture="GemmaForCausalLM",
    entries=(*ENDS, *NORMS, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
