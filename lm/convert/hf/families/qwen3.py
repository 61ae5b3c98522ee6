"""Qwen 3 (Yang et al., 2025): Qwen 2 with norms of queries and keys by head in place of their biases."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import llama, parts, qwen2
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

_HEAD_WIDTH = 128  # where the file says nothing


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = llama.read_body(settings, head_width=_HEAD_WIDTH)
    return ModelConfig(
        **body,
        **parts.read_biases(settings),
        window=qwen2.read_windows(settings, body["n_layers"]),
        qk_norm="head",
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**llama.write_body(cfg), **parts.write_biases(cfg), **qwen2.write_windows(cfg)}


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.QK_NORMS, *llama.MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
