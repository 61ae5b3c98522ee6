"""RoPE in `config.json`, in both spellings.

Up to transformers 4: `rope_theta` beside `rope_scaling`; from 5: `rope_parameters`, which holds both, one for the model
or one for each of the `layer_types`. Both are read. Written is the older, which every version and vLLM read.
"""

from __future__ import annotations

import math
from typing import Any

from lm.convert.hf.settings import Settings
from lm.model.config import ModelConfig, Rope


def read(settings: Settings, max_seq_len: int, *, theta: float = 10_000.0, fraction: float = 1.0) -> Rope:
    """Takes one rotation for all layers; `theta` and `fraction` are the family's own where the file says nothing.

    Raises:
        UserError: a kind of scaling that is not supported, or a value it needs is missing.
    """
    theta = settings.number("rope_theta", theta)
    fraction = settings.number("partial_rotary_factor", fraction)
    original_len = settings.integer("original_max_position_embeddings", 0)
    scaling = settings.take("rope_parameters", None) or settings.take("rope_scaling", None) or {}
    settings.drop("rope_scaling")
    if not isinstance(scaling, dict):
        raise settings.refusal("rope_scaling", scaling, "an object is expected")
    inner = Settings(scaling, f"{settings.where}: rope_scaling")
    rope = parameters(inner, original_len or max_seq_len, theta=theta, fraction=fraction)
    inner.finish()
    return rope


def parameters(inner: Settings, original_len: int, *, theta: float = 10_000.0, fraction: float = 1.0) -> Rope:
    """Takes the keys of one `rope_scaling` or `rope_parameters`; the others are what holds where they say nothing.

    Raises:
        UserError: as `read`.
    """
    given: dict[str, Any] = {
        "theta": inner.number("rope_theta", theta),
        "fraction": inner.number("partial_rotary_factor", fraction),
    }
    old_name = inner.take("type", "default")
    kinds = {"default": "none", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}
    kind = inner.choice("rope_type", kinds, old_name)
    if kind == "none":
        inner.drop("factor", "original_max_position_embeddings")
        return Rope(**given)
    given |= {"scaling": kind, "factor": inner.number("factor")}
    if kind in ("llama3", "yarn"):
        given["original_len"] = inner.integer("original_max_position_embeddings", original_len)
    if kind == "llama3":
        given["low_frequency_factor"] = inner.number("low_freq_factor")
        given["high_frequency_factor"] = inner.number("high_freq_factor")
    if kind == "yarn":
        given |= _yarn(inner, given["factor"])
    return Rope(**given)


def _yarn(inner: Settings, factor: float) -> dict[str, Any]:
    def size(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    attention_factor = inner.number("attention_factor", 0.0)
    above, below = inner.number("mscale", 0.0), inner.number("mscale_all_dim", 0.0)
    if not attention_factor and above and below:  # DeepSeek's way to say it
        attention_factor = size(above) / size(below)
    return {
        "beta_fast": inner.number("beta_fast", 32.0),
        "beta_slow": inner.number("beta_slow", 1.0),
        "truncate": inner.flag("truncate", True),
        "attention_factor": attention_factor,
    }


def write(cfg: ModelConfig, *, partial: bool = False) -> dict[str, Any]:
    """Returns `rope_theta`, `rope_scaling` and, with `partial`, `partial_rotary_factor`.

    What differs from layer to layer is written as of the first layer, and `ntk`, which the format lacks, left out: the
    caller compares what comes back.
    """
    keys: dict[str, Any] = {"rope_theta": cfg.layers[0].theta, "rope_scaling": scaling(cfg.rope, cfg.layers[0].factor)}
    if partial:
        keys["partial_rotary_factor"] = cfg.rope.fraction
    return keys


def scaling(rope: Rope, factor: float) -> dict[str, Any] | None:
    """Returns `rope_scaling`, None where nothing is stretched."""
    if rope.scaling in ("none", "ntk"):
        return None
    keys: dict[str, Any] = {"rope_type": rope.scaling, "factor": factor}
    if rope.scaling in ("llama3", "yarn"):
        keys["original_max_position_embeddings"] = rope.original_len
    if rope.scaling == "llama3":
        keys |= {"low_freq_factor": rope.low_frequency_factor, "high_freq_factor": rope.high_frequency_factor}
    if rope.scaling == "yarn":
        keys |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow, "truncate": rope.truncate}
        if rope.attention_factor:
            keys["attention_factor"] = rope.attention_factor
    return keys
