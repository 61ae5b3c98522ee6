"""Qwen 3 (Yang et al., 2025): Qwen 2 with norms of queries and keys by head in place of their biases."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import llama, qwen2
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

_HEAD_WIDTH = 128  # where the file says nothing


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = llama.read_shape(settings, head_width=_HEAD_WIDTH)
    bias = settings.flag("attention_bias", False)
    return ModelConfig(
        **shape,
        rope=rope.read(settings, shape["max_seq_len"]),
        window=qwen2.read_windows(settings, shape["n_layers"]),
        qkv_bias=bias,
        o_bias=bias,
        qk_norm="head",
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    bias = cfg.qkv_bias and cfg.o_bias
    return {**llama.write_shape(cfg), **rope.write(cfg), **qwen2.write_windows(cfg), "attention_bias": bias}


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.QK_NORMS, *llama.MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
