"""Latent attention against its definition, one head at a time, and the properties of a mixer."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.model import cache, rope
from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.context import Context, MixerCache, Stream
from lm.model.mixers.latent import Latent

SHAPE: dict[str, Any] = {
    "vocab_size": 31, "n_layers": 2, "n_heads": 3, "n_kv_heads": 3, "d_model": 12, "d_ff": 16, "head_width": 4,
    "max_seq_len": 16, "mixer": "latent", "latent": {"q_rank": 7, "kv_rank": 6, "rope_width": 2, "value_width": 5},
}  # fmt: skip
YARN = {"scaling": "yarn", "factor": 4.0, "original_len": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "low-rank queries": {},
    "full queries": {"latent": SHAPE["latent"] | {"q_rank": 0}},
    "values as wide as keys": {"latent": SHAPE["latent"] | {"value_width": 0}, "qkv_bias": True, "o_bias": True},
    "stretched": {"rope": YARN, "attention_scale": 0.3},
    "no position": {"position": "none"},
    "window, sinks, gate": {"window": 3, "attention_sinks": True, "attention_gate": "element"},
    "alibi, soft-cap": {"position": "alibi", "attention_softcap": 1.5, "attention_gate": "head"},
}


def values(shapes: Any) -> Any:
    """Draws parameters of these shapes, none of them at its start: biases are not 0, scales not 1."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda a: (0.4 * rng.normal(size=a.shape) + 0.2).astype(np.float32), shapes)


def rms(x: np.ndarray, scale: np.ndarray, epsilon: float) -> np.ndarray:
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def oracle(cfg: ModelConfig, p: Any, x_TD: np.ndarray) -> np.ndarray:
    """The definition for one document, in float64: one query, one head and one key at a time."""
    p, size, layer = jax.tree.map(lambda a: np.asarray(a, np.float64), p), cfg.latent, cfg.layers[0]
    t, h, width = len(x_TD), cfg.n_heads, cfg.head_width

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return np.tensordot(x, p[name]["kernel"], 1) + p[name].get("bias", 0.0)

    def turn(x_R: np.ndarray, position: int) -> np.ndarray:
        if layer.position != "rope":
            return x_R
        turns_R = rope.frequencies(cfg.rope, size.rope_width, layer.theta, layer.factor)
        z_R = x_R[: len(turns_R)] + 1j * x_R[len(turns_R) :]
        z_R = z_R * np.exp(1j * position * turns_R) * rope.magnitude(cfg.rope, layer.factor)
        return np.concatenate([z_R.real, z_R.imag])

    small = rms(linear("q_down", x_TD), p["q_latent_norm"]["scale"], cfg.norm_epsilon) if size.q_rank else x_TD
    q_THN = linear("q_up" if size.q_rank else "q", small)
    latent_TL = rms(linear("kv_down", x_TD), p["kv_latent_norm"]["scale"], cfg.norm_epsilon)
    k_THP, v_THM, shared_TR = linear("k_up", latent_TL), linear("v_up", latent_TL), linear("k_shared", x_TD)
    scale = cfg.attention_scale or 1 / np.sqrt(width + size.rope_width)
    o_THM = np.zeros(v_THM.shape)
    for head in range(h):
        for i in range(t):
            seen = [j for j in range(i + 1) if not layer.window or i - j < layer.window]
            scores = []
            for j in seen:
                by_content = q_THN[i, head, :width] @ k_THP[j, head]
                by_position = turn(q_THN[i, head, width:], i) @ turn(shared_TR[j], j)
                score = scale * (by_content + by_position)
                if cfg.attention_softcap:
                    score = cfg.attention_softcap * np.tanh(score / cfg.attention_softcap)
                if layer.position == "alibi":
                    score -= (1 / 16, 1 / 256, 1 / 4)[head] * (i - j)
                scores.append(score)
            weights = np.exp(np.asarray(scores))
            total = weights.sum() + (np.exp(p["sinks"][head]) if cfg.attention_sinks else 0.0)
            o_THM[i, head] = weights @ v_THM[seen, head] / total
    if cfg.attention_gate == "element":
        o_THM /= 1 + np.exp(-linear("element_gate", x_TD))
    elif cfg.attention_gate == "head":
        o_THM /= 1 + np.exp(-linear("head_gate", x_TD))[..., None]
    return np.tensordot(o_THM, p["o"]["kernel"], 2) + p["o"].get("bias", 0.0)


@partial(jax.jit, static_argnums=0)
def mix(
    cfg: ModelConfig, params: Any, x_BTD: jax.Array, context: Context, cached: MixerCache | None = None
) -> tuple[jax.Array, MixerCache | None]:
    mixed_BTD, _, cached = Latent(cfg, cfg.layers[0]).apply({"params": params}, x_BTD, Stream(x_BTD), context, cached)
    return mixed_BTD, cached


def draw(cfg: ModelConfig, places: Places) -> tuple[Any, jax.Array]:
    x_BTD = jax.random.normal(jax.random.key(1), (*places.positions_BT.shape, cfg.d_model))
    init = partial(Latent(cfg, cfg.layers[0]).init, jax.random.key(0), x_BTD, Stream(x_BTD), Context(places), None)
    return values(jax.eval_shape(init)["params"]), x_BTD


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_its_definition(variant: str) -> None:
    """With keys and values unfolded, and read from the cache as they are; documents of a row apart."""
    cfg = ModelConfig.from_dict(SHAPE | VARIANTS[variant])
    places = Places(jnp.asarray([[1, 1, 1, 2, 2, 2, 2]]), jnp.asarray([[0, 1, 2, 0, 1, 2, 3]]))
    params, x_BTD = draw(cfg, places)
    alone = [oracle(cfg, params, np.asarray(part, np.float64)) for part in (x_BTD[0, :3], x_BTD[0, 3:])]
    unfolded_BTD, _ = mix(cfg, params, x_BTD, Context(places))
    np.testing.assert_allclose(unfolded_BTD[0], np.concatenate(alone), atol=5e-6)
    absorbed_BTD, _ = mix(cfg, params, x_BTD, Context(places, slots=places), Latent.empty(cfg, 1, 7))
    np.testing.assert_allclose(absorbed_BTD[0], np.concatenate(alone), atol=5e-6)


def test_the_cache_holds_a_latent_and_a_key_a_token() -> None:
    cfg = ModelConfig.from_dict(SHAPE | VARIANTS["low-rank queries"])
    kept = cache.empty(cfg, 2, 12).layers["block_0"]
    assert {name: a.shape for name, a in kept.items()} == {"latent": (2, 2, 12, 6), "key": (2, 2, 12, 2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent": {"rope_width": 2}}, "model.latent.kv_rank=0: model.mixer=latent needs at least 1"),
        ({"latent": {"kv_rank": 2}}, "model.latent.rope_width=0: model.mixer=latent needs at least 1"),
        ({"latent": {"kv_rank": 2, "rope_width": 3}}, "model.latent.rope_width=3: RoPE rotates pairs"),
        ({"n_kv_heads": 1}, "model.n_kv_heads=1: model.mixer=latent unfolds keys for every head"),
        ({"qk_norm": "head"}, "model.qk_norm=head: would change nothing, as no layer has keys by head"),
        ({"rope": {"fraction": 0.5}}, "model.rope.fraction=0.5: would change nothing"),
        ({"value_residual": True}, "model.value_residual=True: every layer must have values by head"),
        ({"mixer": "attention"}, "model.latent.q_rank=7: would change nothing, as no layer has model.mixer=latent"),
    ],
)
def test_what_it_has_no_use_for_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelConfig.from_dict(SHAPE | change)
