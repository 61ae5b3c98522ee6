"""OLMo 2 (OLMo Team, 2025): norms of what branches write, not of what they read, and of all queries or keys at once."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, QK_NORMS, read_shape, write_shape
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

OUTPUT_NORMS = (
    Entry("model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.mixer_post_norm.scale"),
    Entry("model.layers.{i}.post_feedforward_layernorm.weight", "layers.{i}.mlp_post_norm.scale"),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = read_shape(settings)
    bias = settings.flag("attention_bias", False)
    return ModelConfig(
        **shape,
        norm_placement="output",
        qk_norm="full",
        qkv_bias=bias,
        o_bias=bias,
        rope=rope.read(settings, shape["max_seq_len"]),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_shape(cfg), **rope.write(cfg), "attention_bias": cfg.qkv_bias and cfg.o_bias}


FAMILY = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    entries=(*ENDS, *OUTPUT_NORMS, *ATTENTION, *QK_NORMS, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
