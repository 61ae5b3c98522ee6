"""OLMo 2 (OLMo Team, 2025): norms of what branches write, not of what they read, and of all queries or keys at once."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, QK_NORMS, read_body, write_body
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
    body = read_body(settings)
    return ModelConfig(**body, **parts.read_biases(settings), norm_placement="output", qk_norm="full")


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_body(cfg), **parts.write_biases(cfg)}


FAMILY = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    entries=(*ENDS, *OUTPUT_NORMS, *ATTENTION, *QK_NORMS, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
