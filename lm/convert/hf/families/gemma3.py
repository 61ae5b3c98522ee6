"""Gemma 3, text (Gemma Team, 2025): queries and keys normed; one layer in six is global, with a RoPE of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lm.common.errors import UserError
from lm.convert.hf import rope
from lm.convert.hf.families.gemma2 import SANDWICH, read_sandwich, write_sandwich
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, QK_NORMS
from lm.convert.hf.families.parts import FULL, SLIDING
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, PerLayer, Rope, pattern

GLOBAL_THETA, LOCAL_THETA = 1e6, 1e4


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    default = settings.integer("_sliding_window_pattern", 6, least=1)
    every = settings.integer("sliding_window_pattern", default, least=1)
    shape = read_sandwich(settings, every)
    rotation = _read_rope(settings, shape["n_layers"], shape["window"], shape["max_seq_len"])
    return ModelConfig(**shape, qk_norm="head", rope=rotation)


def _read_rope(settings: Settings, n_layers: int, window: PerLayer[int], max_seq_len: int) -> Rope:
    """Reads the rotations of sliding and of global layers, of which the latter alone may be stretched."""
    thetas = {
        SLIDING: settings.number("rope_local_base_freq", LOCAL_THETA),
        FULL: settings.number("rope_theta", GLOBAL_THETA),
    }
    ropes = {kind: rope.parameters(keys, max_seq_len, theta=thetas[kind]) for kind, keys in _rope_keys(settings)}
    if ropes[SLIDING].scaling != "none" or ropes[FULL].scaling not in ("none", "linear"):
        raise UserError(f"{settings.where}: rope_parameters: only {FULL} may be stretched, and only linear")
    windows = window if isinstance(window, tuple) else (window,)
    layers = [ropes[SLIDING if windows[i % len(windows)] else FULL] for i in range(n_layers)]
    return Rope(
        theta=pattern([_one(layer.theta) for layer in layers]),
        factor=pattern([_one(layer.factor) for layer in layers]),
        scaling="linear" if any(layer.scaling == "linear" for layer in layers) else "none",
    )


def _rope_keys(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Yields the keys of each kind of layer; `rope_scaling` is of global ones.

    One rotation for both kinds is refused: Hugging Face's code passes over it, so what is meant is not known.
    """
    rope.keys(settings)  # of both, one alone is there
    new, old = settings.section("rope_parameters"), settings.section("rope_scaling")
    if new and not (new.given(SLIDING) or new.given(FULL)):
        raise UserError(f"{settings.where}: rope_parameters: an object for each of {SLIDING}, {FULL} is expected in it")
    for kind, keys in ((SLIDING, new.section(SLIDING)), (FULL, old or new.section(FULL))):
        keys.expect("partial_rotary_factor", 1.0)
        yield kind, keys


def _one(value: PerLayer[float]) -> float:
    assert not isinstance(value, tuple)
    return value


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config, with RoPE in the older spelling, which every version reads."""
    local = next((layer for layer in cfg.layers if layer.window), None)
    whole = next((layer for layer in cfg.layers if not layer.window), None)
    return {
        **write_sandwich(cfg),
        "rope_local_base_freq": local.theta if local else LOCAL_THETA,
        "rope_theta": whole.theta if whole else GLOBAL_THETA,
        "rope_scaling": rope.scaling(cfg.rope, whole.factor) if whole else None,
    }


FAMILY = Family(
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    entries=(*ENDS, *SANDWICH, *ATTENTION, *QK_NORMS, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
