"""Mistakes that an import could make, planted one at a time: parity that does not notice them is worth nothing.

To add one, add a `Planted` to `PLANTED`: the specimen it shows on, and a function that spoils config and flat tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hf_compare import alone, batch, difference, ours, texts
from benchmarks.hf_specimens import CONTEXT, SPECIMENS, save
from lm.convert import flat, hf
from lm.model.config import ModelConfig

Tensors = dict[str, np.ndarray]
Spoil = Callable[[ModelConfig, Tensors], tuple[ModelConfig, Tensors]]


@dataclass(frozen=True)
class Planted:
    """One mistake: the specimen it is planted in, and what it does to the imported config and tensors."""

    specimen: str
    spoil: Spoil


def _config(**keys: Any) -> Spoil:
    """Returns a mistake in the config; `rope_...` are keys of `rope`, as `latent_...` and `moe_...` of theirs."""

    def spoil(cfg: ModelConfig, tensors: Tensors) -> tuple[ModelConfig, Tensors]:
        changes: dict[str, Any] = {}
        for key, value in keys.items():
            section, _, name = key.partition("_")
            if section in ("rope", "latent", "moe"):
                changes[section] = replace(changes.get(section, getattr(cfg, section)), **{name: value})
            else:
                changes[key] = value
        return replace(cfg, **changes), tensors

    return spoil


def _tensors(change: Callable[[ModelConfig, str, Tensors], np.ndarray]) -> Spoil:
    """Returns a mistake in the tensors: `change` gives each by its name."""

    def spoil(cfg: ModelConfig, tensors: Tensors) -> tuple[ModelConfig, Tensors]:
        return cfg, {name: change(cfg, name, tensors) for name in tensors}

    return spoil


def _base_of_global_layers(cfg: ModelConfig, tensors: Tensors) -> tuple[ModelConfig, Tensors]:
    local = next(layer.theta for layer in cfg.layers if layer.window)
    return replace(cfg, rope=replace(cfg.rope, theta=local)), tensors


def _interleave(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    """Puts the numbers of each query and key in pairs of neighbours, as they are where RoPE turns those."""
    if not name.endswith((".q.kernel", ".k.kernel", ".k_shared.kernel")):
        return tensors[name]
    halves = tensors[name].reshape(*tensors[name].shape[:-1], 2, -1)
    return np.swapaxes(halves, -1, -2).reshape(tensors[name].shape)


def _swap(one: str, other: str) -> Callable[[ModelConfig, str, Tensors], np.ndarray]:
    """Returns a change that gives each tensor with `one` in its name that with `other`, and the other way round."""

    def change(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
        return tensors[name.replace(one, other) if one in name else name.replace(other, one)]

    return change


def _rotate_heads(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    return np.roll(tensors[name], 1, axis=1) if name.endswith(".k.kernel") else tensors[name]


def _pair_halves(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    """Puts heads in the order in which the one half of them is paired with the other."""
    if not name.endswith((".q.kernel", ".k.kernel", ".v.kernel")):
        return tensors[name]
    return np.concatenate([tensors[name][:, 0::2], tensors[name][:, 1::2]], axis=1)


def _reverse_taps(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    return tensors[name][::-1] if name.endswith(".conv.kernel") else tensors[name]


def _transpose_blocks(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    is_blocks = name.endswith((".input_gate.kernel", ".decay_gate.kernel"))
    return np.swapaxes(tensors[name], 1, 2) if is_blocks else tensors[name]


def _next_position(cfg: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    return np.roll(tensors[name], 1, axis=0) if name == "embed.positions" else tensors[name]


PLANTED: dict[str, Planted] = {
    "RoPE base of sliding layers on global ones": Planted("gemma3", _base_of_global_layers),
    "RoPE of global layers not stretched": Planted("gemma3", _config(rope_scaling="none", rope_factor=1.0)),
    "every layer slides": Planted("gemma3", _config(window=7)),
    "soft-cap of scores left out": Planted("gemma2", _config(attention_softcap=0.0)),
    "soft-cap of logits left out": Planted("gemma2", _config(logit_softcap=0.0)),
    "scores by the head's width": Planted("gemma2", _config(attention_scale=0.0)),
    "scale of embeddings left out": Planted("gemma2", _config(embedding_scale=1.0)),
    "GELU by erf, not tanh": Planted("gemma2", _config(mlp="geglu")),
    "GELU by tanh, not erf": Planted("gpt_neox", _config(mlp="gelu_tanh")),
    "one branch after the other": Planted("gpt_neox", _config(residual="sequential")),
    "queries and keys interleaved": Planted("llama", _tensors(_interleave)),
    "gate and up swapped": Planted("llama", _tensors(_swap(".gate.", ".up."))),
    "norms before the branches swapped": Planted("llama", _tensors(_swap(".mixer_norm.", ".mlp_norm."))),
    "heads of keys out of step": Planted("llama", _tensors(_rotate_heads)),
    "epsilon of norms": Planted("llama", _config(norm_epsilon=1e-6)),
    "window one too wide": Planted("mistral", _config(window=8)),
    "YaRN's magnitude left out": Planted("qwen3", _config(rope_attention_factor=1.0)),
    "RoPE in every layer": Planted("smollm3", _config(position="rope")),
    "whole heads rotated": Planted("phi", _config(rope_fraction=1.0)),
    "positions one off": Planted("gpt2", _tensors(_next_position)),
    "queries, keys and values not clipped": Planted("olmo", _config(qkv_clip=0.0)),
    "heads paired by halves": Planted("diffllama", _tensors(_pair_halves)),
    "the key of all heads interleaved": Planted("deepseek_v2", _tensors(_interleave)),
    "epsilon of the latents' norms": Planted("deepseek_v2", _config(latent_norm_epsilon=0.0)),
    "gates and ups of experts swapped": Planted("gpt_oss", _tensors(_swap(".expert_gate.", ".expert_up."))),
    "experts not clamped": Planted("gpt_oss", _config(mlp="swiglu")),
    "weights of experts not normalised": Planted("qwen3_moe", _config(moe_normalise=False)),
    "weights of experts normalised": Planted("qwen2_moe", _config(moe_normalise=True)),
    "one expert fewer": Planted("mixtral", _config(moe_top_k=2)),
    "weights of experts not scaled": Planted("deepseek_v2", _config(moe_weight_scale=1.0)),
    "experts of any group": Planted("deepseek_v2", _config(moe_n_groups=1, moe_top_groups=1)),
    "groups by their best expert alone": Planted("deepseek_v3", _config(moe_group_score="max")),
    "scores without YaRN's part": Planted("deepseek_v3", _config(attention_scale=0.0)),
    "taps of convolutions the other way": Planted("mamba", _tensors(_reverse_taps)),
    "a recurrence and its gate swapped": Planted("mamba", _tensors(_swap(".recurrent_in.", ".recurrent_gate."))),
    "gates of a recurrence swapped": Planted("recurrent_gemma", _tensors(_swap(".input_gate.", ".decay_gate."))),
    "blocks of gates transposed": Planted("recurrent_gemma", _tensors(_transpose_blocks)),
    "scale of embeddings not rounded": Planted("recurrent_gemma", _config(embedding_scale=80**0.5)),
    "scale of branches left out": Planted("granite", _config(residual_scale=1.0)),
}


class Bench:
    """Plants errors in specimens, which are written under `directory` once each."""

    def __init__(self, directory: Path, length: int = CONTEXT) -> None:
        self.directory, self.length = directory, length
        self._sound = lru_cache(maxsize=None)(self._prepare)

    def difference(self, planted: Planted | None, specimen: str = "") -> float:
        """Returns how far the logits of a spoiled import are; of a sound one of `specimen` if `planted` is None."""
        cfg, tensors, wanted = self._sound(planted.specimen if planted else specimen)
        if planted:
            cfg, tensors = planted.spoil(cfg, tensors)
        text = batch(texts((self.length,)))
        logits, _ = ours(cfg, flat.unflatten(cfg, tensors), text.tokens, text.real, text.positions)
        return difference(np.asarray(logits[0]), wanted)

    def _prepare(self, specimen: str) -> tuple[ModelConfig, Tensors, np.ndarray]:
        model = save(SPECIMENS[specimen], self.directory / specimen)
        found = hf.read(self.directory / specimen)
        return found.config, flat.flatten(found.config, found.params), alone(model, texts((self.length,))[0])
