"""What several families spell alike: sizes, biases, plain activations, sliding layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lm.convert.hf.codecs import Codec, linear
from lm.convert.hf.settings import REQUIRED, Settings
from lm.convert.hf.table import Entry, When, always
from lm.model.config import Feedforward, ModelConfig, PerLayer, pattern

SLIDING, FULL = "sliding_attention", "full_attention"

# Of MLPs without a gate; Hugging Face has several names for the approximation by tanh.
PLAIN: Mapping[str, Feedforward] = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "relu": "relu",
    "relu2": "relu2",
}

# Of sizes: our key, and the usual name for it.
SIZES = {
    "vocab_size": "vocab_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
}


def read_sizes(settings: Settings, names: Mapping[str, str] = SIZES, **defaults: int) -> dict[str, Any]:
    """Reads whole numbers from 1 on: by our key the one of each name, or its default."""
    return {ours: settings.integer(theirs, defaults.get(ours, REQUIRED), least=1) for ours, theirs in names.items()}


def write_sizes(cfg: ModelConfig, names: Mapping[str, str] = SIZES) -> dict[str, Any]:
    """Returns the numbers that `read_sizes` reads."""
    return {theirs: getattr(cfg, ours) for ours, theirs in names.items()}


def plain_heads(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `n_kv_heads` and `head_width` where every head has keys of its own, and all make up the model's width."""
    return {"n_kv_heads": sizes["n_heads"], "head_width": sizes["d_model"] // sizes["n_heads"]}


def spelling(choices: Mapping[str, str], value: str) -> str:
    """Returns the first name that stands for a value; for one that the format lacks, the first that it has."""
    return next((theirs for theirs, ours in choices.items() if ours == value), next(iter(choices)))


def read_biases(settings: Settings, default: bool = False) -> dict[str, Any]:
    """Reads `attention_bias`, which is of queries, keys, values and output alike."""
    bias = settings.flag("attention_bias", default)
    return {"qkv_bias": bias, "o_bias": bias}


def write_biases(cfg: ModelConfig) -> dict[str, bool]:
    """Returns `attention_bias`."""
    return {"attention_bias": cfg.qkv_bias and cfg.o_bias}


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
    """Reads `layer_types`, or as `types` says without it, and returns the window of each layer.

    Raises:
        UserError: a kind of layer other than `sliding_attention` and `full_attention`, or another number of layers.
    """
    found = settings.items("layer_types", (SLIDING, FULL), types, count=len(types))
    return pattern([window if kind == SLIDING else 0 for kind in found])


def read_switched_window(settings: Settings) -> int:
    """Reads `sliding_window`, 4096 where the file says nothing, where Qwen's `use_sliding_window` switches it on."""
    slides, window = settings.flag("use_sliding_window", False), settings.integer("sliding_window", 4096, null=0)
    return window if slides else 0


def write_windows(cfg: ModelConfig) -> dict[str, Any]:
    """Returns `layer_types` and `sliding_window`, which is null where no layer slides."""
    windows = [layer.window for layer in cfg.layers]
    return {
        "layer_types": [SLIDING if window else FULL for window in windows],
        "sliding_window": max(windows) or None,
    }
