"""Differential attention against its definition, one pair of heads at a time, and the properties of a mixer."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.model import rope
from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.context import Context, Stream
from lm.model.mixers.differential import Differential
from lm.model.widths import rotary_width

SHAPE: dict[str, Any] = {
    "vocab_size": 31, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 12, "d_ff": 16, "head_width": 4,
    "max_seq_len": 16, "mixer": "differential",
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "by themselves": {"n_heads": 6, "n_kv_heads": 6, "qk_norm": "head", "rope": {"fraction": 0.5}},
    "window, sinks, gate": {"window": 3, "attention_sinks": True, "attention_gate": "element", "qkv_bias": True},
    "alibi, soft-cap": {"position": "alibi", "attention_softcap": 1.5, "attention_scale": 0.3},
}


def values(shapes: Any) -> Any:
    """Draws parameters of these shapes, none of them at its start: biases are not 0, scales not 1."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda a: (0.4 * rng.normal(size=a.shape) + 0.2).astype(np.float32), shapes)


def rms(x: np.ndarray, scale: np.ndarray, epsilon: float) -> np.ndarray:
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def oracle(cfg: ModelConfig, p: Any, x_TD: np.ndarray, number: int) -> np.ndarray:
    """The definition for one document in layer `number`, in float64: one query and one pair of heads at a time."""
    p, layer, t = jax.tree.map(lambda a: np.asarray(a, np.float64), p), cfg.layers[0], len(x_TD)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return np.tensordot(x, p[name]["kernel"], 1) + p[name].get("bias", 0.0)

    def turn(x_THN: np.ndarray) -> np.ndarray:
        if layer.position != "rope":
            return x_THN
        turns_R = rope.frequencies(cfg.rope, rotary_width(cfg), layer.theta, layer.factor)
        r = len(turns_R)
        z = (x_THN[..., :r] + 1j * x_THN[..., r : 2 * r]) * np.exp(1j * np.arange(t)[:, None, None] * turns_R)
        return np.concatenate([z.real, z.imag, x_THN[..., 2 * r :]], axis=-1)

    q_THN, k_TKN, v_TKN = linear("q", x_TD), linear("k", x_TD), linear("v", x_TD)
    if cfg.qk_norm == "head":
        q_THN = rms(q_THN, p["q_norm"]["scale"], cfg.norm_epsilon)
        k_TKN = rms(k_TKN, p["k_norm"]["scale"], cfg.norm_epsilon)
    q_THN, k_TKN = turn(q_THN), turn(k_TKN)
    scale = cfg.attention_scale or 1 / math.sqrt(cfg.head_width)
    start = 0.8 - 0.6 * math.exp(-0.3 * number)
    (q0, q1), (k0, k1) = p["lambda_q"], p["lambda_k"]
    weight = math.exp(q0 @ k0) - math.exp(q1 @ k1) + start

    def softmax(i: int, head: int, key_head: int, slope: float) -> np.ndarray:
        """One row of one map, 0 where nothing is seen."""
        row_T, sink = np.zeros(t), 0.0
        for j in range(i + 1):
            if layer.window and i - j >= layer.window:
                continue
            score = scale * q_THN[i, head] @ k_TKN[j, key_head]
            if cfg.attention_softcap:
                score = cfg.attention_softcap * np.tanh(score / cfg.attention_softcap)
            row_T[j] = np.exp(score - (slope * (i - j) if layer.position == "alibi" else 0.0))
        if cfg.attention_sinks:
            sink = np.exp(p["sinks"][head])
        return row_T / (row_T.sum() + sink)

    pairs, key_pairs = cfg.n_heads // 2, cfg.n_kv_heads // 2
    o_THN = np.zeros(q_THN.shape)
    for pair in range(pairs):
        shared = pair * key_pairs // pairs
        values_TM = np.concatenate([v_TKN[:, 2 * shared], v_TKN[:, 2 * shared + 1]], axis=-1)
        for i in range(t):
            slope = 2.0 ** (-8.0 * (pair + 1) / pairs)
            one, other = (softmax(i, 2 * pair + side, 2 * shared + side, slope) for side in (0, 1))
            read_M = (one - weight * other) @ values_TM
            read_M = (1 - start) * rms(read_M, p["pair_norm"]["scale"], cfg.norm_epsilon)
            o_THN[i, 2 * pair], o_THN[i, 2 * pair + 1] = np.split(read_M, 2)
    if cfg.attention_gate == "element":
        o_THN /= 1 + np.exp(-linear("element_gate", x_TD))
    return np.tensordot(o_THN, p["o"]["kernel"], 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_its_definition(variant: str) -> None:
    """In the first layer and in a later one, whose number is traced; documents of a row apart."""
    cfg = ModelConfig.from_dict(SHAPE | VARIANTS[variant])
    places = Places(jnp.asarray([[1, 1, 1, 2, 2, 2, 2]]), jnp.asarray([[0, 1, 2, 0, 1, 2, 3]]))
    x_BTD = jax.random.normal(jax.random.key(1), (1, 7, cfg.d_model))
    module, stream = Differential(cfg, cfg.layers[0]), Stream(x_BTD)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x_BTD, stream, Context(places), None)["params"])
    params = values(shapes)
    mix = jax.jit(lambda context: module.apply({"params": params}, x_BTD, stream, context, None)[0])
    for number in (0, 3):
        alone = [oracle(cfg, params, np.asarray(part, np.float64), number) for part in (x_BTD[0, :3], x_BTD[0, 3:])]
        mixed_BTD = mix(Context(places, layer=jnp.asarray(number)))
        np.testing.assert_allclose(mixed_BTD[0], np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize("heads", [(3, 3), (6, 3), (4, 1)])
def test_odd_heads_are_refused(heads: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"model\.mixer=differential pairs heads; use an even number"):
        ModelConfig.from_dict(SHAPE | {"n_heads": heads[0], "n_kv_heads": heads[1]})
