"""What llama.cpp computes: for each of its architectures, the model that it makes of a file.

A GGUF says sizes and a few switches; the rest of an architecture is llama.cpp's code. So a config is held against the
one that llama.cpp would compute, key by key, and what differs is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lm.common.errors import UserError
from lm.convert.hf import fitting
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, PerLayer, Rope, pattern

_SIZES = ("vocab_size", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff", "head_width", "max_seq_len")
_ALWAYS = (*_SIZES, "norm_epsilon", "tie_embeddings")
_UNIFORM = ("none", "linear", "yarn")
_SHOWN = 6


@dataclass(frozen=True)
class Architecture:
    """One of llama.cpp's architectures.

    Attributes:
        name: as `general.architecture` says it.
        says: the keys, beside sizes, that the file can say, by metadata or by whether a tensor is there.
        computes: the keys that llama.cpp's code settles where that differs from a plain Llama.
        interleaved: whether neighbours in a head are rotated as pairs, rather than halves.
        scalings: the ways to stretch RoPE that it knows.
        partial: whether only the first part of a head may be rotated.
        fills: whether the heads together must be as wide as the model.
        slides: whether it has windows.
    """

    name: str
    says: tuple[str, ...] = ()
    computes: Callable[[ModelConfig], Mapping[str, Any]] = lambda cfg: {}
    interleaved: bool = False
    scalings: tuple[str, ...] = _UNIFORM
    partial: bool = False
    fills: bool = False
    slides: bool = False


def _gemma(cfg: ModelConfig) -> dict[str, Any]:
    return {
        "mlp": "geglu_tanh",
        "norm_scale": "one_plus",
        "embedding_scale": math.sqrt(cfg.d_model),
        "tie_embeddings": True,
    }


def _sandwich(cfg: ModelConfig, every: int, largest: int) -> dict[str, Any]:
    """Returns what Gemma 2 and 3 share; the largest of each, known by its layers, scales scores by another width."""
    return {
        **_gemma(cfg),
        "norm_placement": "sandwich",
        "window": _sliding(cfg, every),
        "attention_scale": (cfg.d_model // cfg.n_heads) ** -0.5 if cfg.n_layers == largest else 0.0,
    }


def _gemma2(cfg: ModelConfig) -> dict[str, Any]:
    bounds = {"attention_softcap": cfg.attention_softcap or 50.0, "logit_softcap": cfg.logit_softcap or 30.0}
    found = {**_sandwich(cfg, 2, 46), **bounds}
    return found if found["window"] else {**found, "window": (4096, 0)}  # which it takes where the file says none


def _gemma3(cfg: ModelConfig) -> dict[str, Any]:
    found = {**_sandwich(cfg, 6, 62), "tie_embeddings": cfg.tie_embeddings, "qk_norm": "head"}
    if not any(layer.window for layer in cfg.layers):
        return {**found, "window": 0}
    slides = [bool(window) for window in _each(cfg, found["window"])]
    whole = next((layer for layer, local in zip(cfg.layers, slides, strict=True) if not local), None)
    theta, factor = (whole.theta, whole.factor) if whole else (cfg.layers[0].theta, 1.0)
    stretched = cfg.rope.scaling == "linear" and whole is not None
    rope = Rope(
        theta=pattern([cfg.layers[0].theta if local else theta for local in slides]),
        factor=pattern([1.0 if local or not stretched else factor for local in slides]),
        scaling="linear" if stretched else "none",
    )
    return {**found, "rope": rope}


def _layer_norm(cfg: ModelConfig) -> dict[str, Any]:
    """Returns what those with LayerNorm and biases everywhere share."""
    biases = {"qkv_bias": True, "o_bias": True, "mlp_bias": True}
    return {"mlp": "gelu_tanh", "norm": "layer", "norm_bias": True, **biases}


def _sliding(cfg: ModelConfig, every: int) -> PerLayer[int]:
    """Returns the windows where each `every`-th layer sees all and the others so much as the widest of ours."""
    widest = max(layer.window for layer in cfg.layers)
    return pattern([0 if (i + 1) % every == 0 else widest for i in range(cfg.n_layers)])


def _each(cfg: ModelConfig, value: PerLayer[int]) -> list[int]:
    return [value[i % len(value)] if isinstance(value, tuple) else value for i in range(cfg.n_layers)]


_BIASES = ("qkv_bias", "o_bias", "mlp_bias")
_SCALES = ("attention_scale", "embedding_scale", "residual_scale", "logit_scale")
_LLAMA = Architecture("llama", _BIASES, interleaved=True, scalings=(*_UNIFORM, "llama3"))

# By the family's `model_type` in Hugging Face's format, whose names of tensors the GGUF's follow from.
ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Architecture("qwen2", ("qkv_bias",), fills=True),
    "qwen3": Architecture("qwen3", ("qkv_bias",), lambda cfg: {"qk_norm": "head"}),
    "smollm3": Architecture(
        "smollm3", ("qkv_bias",), lambda cfg: {"position": ("rope", "rope", "rope", "none")}, interleaved=True
    ),
    "granite": Architecture("granite", (*_BIASES, *_SCALES), interleaved=True, scalings=(*_UNIFORM, "llama3")),
    "olmo": Architecture(
        "olmo", ("qkv_clip",), lambda cfg: {"norm": "layer", "norm_scale": "none"}, interleaved=True, fills=True
    ),
    "olmo2": Architecture("olmo2", (), lambda cfg: {"norm_placement": "output", "qk_norm": "full"}, fills=True),
    "gemma": Architecture("gemma", (), _gemma),
    "gemma2": Architecture("gemma2", (), _gemma2, slides=True),
    "gemma3_text": Architecture("gemma3", ("logit_softcap",), _gemma3, slides=True),
    "starcoder2": Architecture("starcoder2", (), _layer_norm, fills=True),
    "gpt2": Architecture(
        "gpt2", (), lambda cfg: {**_layer_norm(cfg), "position": "none", "position_embedding": "learned"}, fills=True
    ),
    "phi": Architecture(
        "phi2",
        (),
        lambda cfg: {**_layer_norm(cfg), "residual": "parallel_shared", "tie_embeddings": False, "head_bias": True},
        partial=True,
        fills=True,
    ),
    "phi3": Architecture("phi3", (), partial=True, fills=True),
}


def choose(cfg: ModelConfig, name: str | None = None, preferred: str | None = None) -> tuple[Family, Architecture]:
    """Returns the family that fits, as `lm.convert.hf.fitting.choose` finds it, and llama.cpp's architecture for it.

    Raises:
        UserError: no family fits, llama.cpp does not have it, or would compute something else; what, is named.
    """
    family = fitting.choose(cfg, name, preferred)
    if (found := ARCHITECTURES.get(family.model_type)) is None:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"format=gguf: not for family {family.model_type}, but for {known}; --format=torch writes it")
    if lost := obstacles(found, cfg):
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        shown = ", ".join(lost[:_SHOWN])
        raise UserError(f"format=gguf: llama.cpp's {found.name} cannot say {shown}{more}; --format=torch writes it")
    return family, found


def obstacles(architecture: Architecture, cfg: ModelConfig) -> list[str]:
    """Returns what of the model llama.cpp would compute otherwise, as `model.KEY=VALUE`; nothing if it fits."""
    theirs = fitting.architecture(computed(architecture, cfg))
    lost = [f"model.{key}={value!r}" for key, value in fitting.architecture(cfg).items() if theirs[key] != value]
    if architecture.fills and cfg.n_heads * cfg.head_width != cfg.d_model:
        lost.append(f"model.head_width={cfg.head_width} (model.d_model / model.n_heads is needed)")
    return lost


def computed(architecture: Architecture, cfg: ModelConfig) -> ModelConfig:
    """Returns the model that llama.cpp computes from the file written of `cfg`."""
    windows = [layer.window for layer in cfg.layers]
    wide = all(window == 0 or window >= cfg.max_seq_len for window in windows)  # no window at all
    said = {key: getattr(cfg, key) for key in (*_ALWAYS, *architecture.says)}
    settled = {"rope": _rope(architecture, cfg), **architecture.computes(cfg)}
    return ModelConfig(**{"window": cfg.window if wide else 0, **said, **settled})


def _rope(architecture: Architecture, cfg: ModelConfig) -> Rope:
    """Returns the one rotation of all layers; YaRN's is the published one but for the size of its angles."""
    ours, first = cfg.rope, cfg.layers[0]
    if all(layer.position == "none" for layer in cfg.layers):
        return ours  # which nothing reads
    fraction = ours.fraction if architecture.partial else 1.0
    if ours.scaling not in architecture.scalings or ours.scaling == "none":
        return Rope(theta=first.theta, fraction=fraction)
    given: dict[str, Any] = {"theta": first.theta, "fraction": fraction, "factor": first.factor}
    if ours.scaling == "yarn":
        given["attention_factor"] = ours.attention_factor
    if ours.scaling == "llama3":
        given["low_frequency_factor"] = ours.low_frequency_factor
        given["high_frequency_factor"] = ours.high_frequency_factor
    return Rope(scaling=ours.scaling, original_len=ours.original_len, **given)
