"""Mistral 7B and its successors (Jiang et al., 2023): Llama, with one sliding window in every layer, or none."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import llama
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

_WINDOW = 4096  # where the file says nothing; null is no window


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = llama.read_body(settings)
    return ModelConfig(**body, window=settings.integer("sliding_window", _WINDOW, null=0))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**llama.write_body(cfg), "sliding_window": cfg.layers[0].window or None}


FAMILY = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
