"""Qwen 2 and 2.5 (Yang et al., 2024): Llama with biases of queries, keys and values, and layers that may slide."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, PerLayer

_WINDOW, _FULL_LAYERS = 4096, 28  # where the file says nothing


def read_windows(settings: Settings, n_layers: int) -> PerLayer[int]:
    """Takes the keys of the window, which Qwen switches on apart, for the layers from `max_window_layers` on."""
    slides = settings.flag("use_sliding_window", False)
    window = settings.nullable("sliding_window", _WINDOW) if slides else None
    settings.drop("sliding_window")
    full = settings.integer("max_window_layers", _FULL_LAYERS)
    types = [parts.SLIDING if window and i >= full else parts.FULL for i in range(n_layers)]
    return parts.read_windows(settings, types, window or 0)


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
    shape = llama.read_shape(settings)
    return ModelConfig(
        **shape,
        rope=rope.read(settings, shape["max_seq_len"]),
        window=read_windows(settings, shape["n_layers"]),
        qkv_bias=True,
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**llama.write_shape(cfg), **rope.write(cfg), **write_windows(cfg)}


FAMILY = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
