"""Qwen 2 and 2.5 (Yang et al., 2024): Llama with biases of queries, keys and values, and layers that may slide."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, PerLayer

_FULL_LAYERS = 28  # where the file says nothing


def read_windows(settings: Settings, n_layers: int) -> PerLayer[int]:
    """Reads the keys of the window, which is of the layers from `max_window_layers` on."""
    window = parts.read_switched_window(settings)
    full = settings.integer("max_window_layers", _FULL_LAYERS)
    types = [parts.SLIDING if window and i >= full else parts.FULL for i in range(n_layers)]
    return parts.read_windows(settings, types, window)


def write_windows(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the keys of the window."""
    windows = [layer.window for layer in cfg.layers]
    full = next((i for i, window in enumerate(windows) if window), cfg.n_layers)
    return {"use_sliding_window": any(windows), "max_window_layers": full, **parts.write_windows(cfg)}


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = llama.read_body(settings)
    return ModelConfig(**body, qkv_bias=True, window=read_windows(settings, body["n_layers"]))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**llama.write_body(cfg), **write_windows(cfg)}


FAMILY = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
