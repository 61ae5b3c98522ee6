"""RoPE in `config.json`, in both spellings.

Up to transformers 4: `rope_theta` beside `rope_scaling`; from 5: `rope_parameters`, which holds both, one for the model
or one for each of the `layer_types`. Both are read. Written is the older, which every version and vLLM read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lm.common.errors import UserError
from lm.convert.hf.settings import Settings
from lm.model.config import ModelConfig, Rope, RopeScaling

_KINDS: Mapping[str, RopeScaling] = {"default": "none", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}


def read(settings: Settings, max_seq_len: int, *, theta: float = 10_000.0, fraction: float = 1.0) -> Rope:
    """Reads one rotation for all layers; `theta` and `fraction` are the family's own where the file says nothing.

    Raises:
        UserError: a kind of scaling that is not supported, or a value it needs is missing.
    """
    theta = settings.number("rope_theta", theta)
    fraction = settings.number("partial_rotary_factor", fraction)
    original_len = settings.integer("original_max_position_embeddings", 0)
    return parameters(keys(settings), original_len or max_seq_len, theta=theta, fraction=fraction)


def keys(settings: Settings) -> Settings:
    """Returns the keys of the one rotation, by whichever name; none where neither is there.

    Raises:
        UserError: both are.
    """
    old, new = settings.section("rope_scaling"), settings.section("rope_parameters")
    if old and new:
        raise UserError(f"{settings.where}: rope_scaling: rope_parameters is there too; take one of them out")
    return old or new


def kind(inner: Settings) -> RopeScaling:
    """Returns the kind of scaling, under either name of that key.

    Raises:
        UserError: one that is not supported.
    """
    inner.drop("type")
    return inner.choice("rope_type" if inner.given("rope_type") else "type", _KINDS, "default")


def parameters(inner: Settings, original_len: int, *, theta: float = 10_000.0, fraction: float = 1.0) -> Rope:
    """Reads the keys of one `rope_scaling` or `rope_parameters`; the others are what holds where they say nothing.

    Raises:
        UserError: as `read`.
    """
    given: dict[str, Any] = {
        "theta": inner.number("rope_theta", theta),
        "fraction": inner.number("partial_rotary_factor", fraction),
    }
    if (scaling := kind(inner)) == "none":
        inner.drop("factor", "original_max_position_embeddings")
        return Rope(**given)
    given |= {"scaling": scaling, "factor": inner.number("factor", positive=True)}
    if scaling in ("llama3", "yarn"):
        given["original_len"] = inner.integer("original_max_position_embeddings", original_len)
    if scaling == "llama3":
        given["low_frequency_factor"] = inner.number("low_freq_factor")
        given["high_frequency_factor"] = inner.number("high_freq_factor")
    if scaling == "yarn":
        given |= _yarn(inner, given["factor"])
    return Rope(**given)


def spread(factor: float, weight: float = 1.0) -> float:
    """Returns what YaRN multiplies queries, and keys, by for their scores to keep their spread (Peng et al., 2023)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _yarn(inner: Settings, factor: float) -> dict[str, Any]:
    attention_factor = inner.number("attention_factor", 0.0, least=0)
    above, below = inner.number("mscale", 0.0), inner.number("mscale_all_dim", 0.0)
    if not attention_factor and above and below:  # DeepSeek's way to say it
        if (divisor := spread(factor, below)) <= 0:
            raise inner.refusal("mscale_all_dim", below, "too far below 0 to divide by")
        attention_factor = spread(factor, above) / divisor
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
    said: dict[str, Any] = {"rope_theta": cfg.layers[0].theta, "rope_scaling": scaling(cfg.rope, cfg.layers[0].factor)}
    if partial:
        said["partial_rotary_factor"] = cfg.rope.fraction
    return said


def scaling(rope: Rope, factor: float) -> dict[str, Any] | None:
    """Returns `rope_scaling`, None where nothing is stretched."""
    if rope.scaling in ("none", "ntk"):
        return None
    said: dict[str, Any] = {"rope_type": rope.scaling, "factor": factor}
    if rope.scaling in ("llama3", "yarn"):
        said["original_max_position_embeddings"] = rope.original_len
    if rope.scaling == "llama3":
        said |= {"low_freq_factor": rope.low_frequency_factor, "high_freq_factor": rope.high_frequency_factor}
    if rope.scaling == "yarn":
        said |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow, "truncate": rope.truncate}
        if rope.attention_factor:
            said["attention_factor"] = rope.attention_factor
    return said
