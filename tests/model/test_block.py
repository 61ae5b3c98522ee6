"""A layer's arrangements of norms and branches, put together by hand from the layer's own parts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model.attention import Places
from lm.model.block import Block
from lm.model.config import ModelConfig
from lm.model.context import Context, Stream
from lm.model.mixers.attention import Attention
from lm.model.mlp import MLP
from lm.model.norms import Norm

BASE = ModelConfig(8, 1, 2, 2, 8, 12, 4, 8, residual_scale=0.5)
T = 4
CONTEXT = Context(Places(jnp.ones((1, T), jnp.int32), jnp.arange(T)[None]))
X = jax.random.normal(jax.random.key(0), (1, T, 8))


class Parts:
    """A layer's own norms, mixer and MLP as functions, and the names of those that were used."""

    def __init__(self, cfg: ModelConfig, params: Any) -> None:
        self.cfg, self.params, self.used = cfg, params, set[str]()

    def _take(self, name: str) -> dict[str, Any]:
        self.used.add(name)
        return {"params": self.params[name]}

    def norm(self, name: str, x: jax.Array) -> jax.Array:
        return Norm(self.cfg).apply(self._take(name), x)

    def mix(self, x: jax.Array) -> jax.Array:
        return Attention(self.cfg, self.cfg.layers[0]).apply(self._take("mixer"), x, Stream(x), CONTEXT, None)[0]

    def mlp(self, x: jax.Array) -> jax.Array:
        return MLP(self.cfg, "swiglu").apply(self._take("mlp"), x)


def pre(p: Parts, x: jax.Array) -> jax.Array:
    x = x + 0.5 * p.mix(p.norm("mixer_norm", x))
    return x + 0.5 * p.mlp(p.norm("mlp_norm", x))


def post(p: Parts, x: jax.Array) -> jax.Array:
    x = p.norm("mixer_post_norm", x + 0.5 * p.mix(x))
    return p.norm("mlp_post_norm", x + 0.5 * p.mlp(x))


def output(p: Parts, x: jax.Array) -> jax.Array:
    x = x + 0.5 * p.norm("mixer_post_norm", p.mix(x))
    return x + 0.5 * p.norm("mlp_post_norm", p.mlp(x))


def sandwich(p: Parts, x: jax.Array) -> jax.Array:
    x = x + 0.5 * p.norm("mixer_post_norm", p.mix(p.norm("mixer_norm", x)))
    return x + 0.5 * p.norm("mlp_post_norm", p.mlp(p.norm("mlp_norm", x)))


def parallel(p: Parts, x: jax.Array) -> jax.Array:
    return x + 0.5 * (p.mix(p.norm("mixer_norm", x)) + p.mlp(p.norm("mlp_norm", x)))


def parallel_shared(p: Parts, x: jax.Array) -> jax.Array:
    read = p.norm("mixer_norm", x)
    return x + 0.5 * (p.mix(read) + p.mlp(read))


def parallel_output(p: Parts, x: jax.Array) -> jax.Array:
    return x + 0.5 * (p.norm("mixer_post_norm", p.mix(x)) + p.norm("mlp_post_norm", p.mlp(x)))


def mixer_alone(p: Parts, x: jax.Array) -> jax.Array:
    return x + 0.5 * p.mix(p.norm("mixer_norm", x))


@pytest.mark.parametrize(
    ("changes", "by_hand"),
    [
        ({}, pre),
        ({"norm_placement": "post"}, post),
        ({"norm_placement": "output"}, output),
        ({"norm_placement": "sandwich"}, sandwich),
        ({"residual": "parallel"}, parallel),
        ({"residual": "parallel_shared"}, parallel_shared),
        ({"residual": "parallel", "norm_placement": "output"}, parallel_output),
        ({"mlp": "none"}, mixer_alone),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_arrangements(changes: dict[str, str], by_hand: Any) -> None:
    cfg = dataclasses.replace(BASE, **changes)
    block = Block(cfg, cfg.layers[0])
    params = block.init(jax.random.key(1), Stream(X), CONTEXT)["params"]
    params = jax.tree.map(lambda a: a + 0.3 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), params)
    parts = Parts(cfg, params)
    expected = by_hand(parts, X)
    found, cached, aux = block.apply({"params": params}, Stream(X), CONTEXT)
    np.testing.assert_allclose(found.x, expected, rtol=1e-4, atol=1e-5)
    assert parts.used == params.keys()
    assert (cached, aux) == (None, {})
