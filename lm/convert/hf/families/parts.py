"""What several families spell alike beside Llama's way: biased maps, plain activations, sliding layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lm.convert.hf.codecs import Codec, linear
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, When, always
from lm.model.config import ModelConfig, PerLayer, pattern

SLIDING, FULL = "sliding_attention", "full_attention"

# Of MLPs without a gate; Hugging Face has several names for the approximation by tanh.
PLAIN = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "relu": "relu",
    "relu2": "relu2",
}


def biased(
    theirs: str, ours: str, how: Codec = linear, when: When = always, *, matrix: str = "kernel"
) -> tuple[Entry, ...]:
    """Returns the rows of a map's `weight` and `bias`; the bias only `when` that holds."""
    return (
        Entry(f"{theirs}.weight", f"{ours}.{matrix}", how),
        Entry(f"{theirs}.bias", f"{ours}.bias", when=when),
    )


def scale_of(cfg: ModelConfig) -> float:
    """Returns attention's scale as a number."""
    return cfg.attention_scale or 1.0 / math.sqrt(cfg.head_width)


def read_windows(settings: Settings, types: Sequence[str], window: int) -> PerLayer[int]:
    """Takes `layer_types`, or as `types` says without it, and returns the window of each layer.

    Raises:
        UserError: a kind of layer other than `sliding_attention` and `full_attention`, or another number of layers.
    """
    found = settings.take("layer_types", list(types))
    if len(found) != len(types):
        raise settings.refusal("layer_types", found, f"num_hidden_layers={len(types)} layers are expected")
    if unknown := {*found} - {SLIDING, FULL}:
        raise settings.refusal("layer_types", sorted(unknown)[0], f"supported are {SLIDING}, {FULL}")
    return pattern([window if kind == SLIDING else 0 for kind in found])


def write_windows(cfg: ModelConfig) -> dict[str, Any]:
    """Returns `layer_types` and `sliding_window`, which is null where no layer slides."""
    windows = [layer.window for layer in cfg.layers]
    return {
        "layer_types": [SLIDING if window else FULL for window in windows],
        "sliding_window": max(windows) or None,
    }
