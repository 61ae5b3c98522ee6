"""Slow, obvious recurrent mixers in float64: one row, one token after another, a new document from nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.context import Context
from lm.model.decoder import begin
from lm.model.mixers import MIXERS

SHAPE = {"vocab_size": 8, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "d_model": 6, "d_ff": 8, "head_width": 2}


def config(mixer: str, **recurrent: Any) -> ModelConfig:
    """Returns a model of one such layer."""
    return ModelConfig.from_dict({**SHAPE, "max_seq_len": 256, "mixer": mixer, "recurrent": recurrent})


def draw(cfg: ModelConfig, lengths: tuple[int, ...]) -> tuple[Any, Any, jax.Array, Places]:
    """Returns a mixer, random parameters, inputs `[1, T, D]` and documents; a length below 0 is padding."""
    segments = np.concatenate([np.full(abs(n), 0 if n < 0 else i + 1) for i, n in enumerate(lengths)])
    positions = np.concatenate([np.zeros(-n, int) if n < 0 else np.arange(n) for n in lengths])
    places = Places(jnp.asarray(segments)[None], jnp.asarray(positions)[None])
    rng = np.random.default_rng(0)
    x_BTD = jnp.asarray(rng.normal(size=(1, len(segments), cfg.d_model)), jnp.float32)
    mixer = MIXERS[cfg.layers[0].mixer](cfg, cfg.layers[0], name="mixer")
    shapes = jax.eval_shape(mixer.init, jax.random.key(0), x_BTD, begin(cfg, x_BTD), Context(places), None)["params"]
    drawn = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32), shapes)
    return mixer, drawn, x_BTD, places


@partial(jax.jit, static_argnums=0)
def run(mixer: Any, params: Any, x_BTD: jax.Array, places: Places) -> jax.Array:
    """Returns what the mixer writes, `[B, T, D]`."""
    return mixer.apply({"params": params}, x_BTD, begin(mixer.cfg, x_BTD), Context(places), None)[0]


def documents(x_BTD: jax.Array, places: Places) -> list[np.ndarray]:
    """Returns each document's inputs, `[T, D]` in float64."""
    segments = np.asarray(places.segments_BT[0])
    return [np.asarray(x_BTD[0], np.float64)[segments == s] for s in np.unique(segments) if s]


def compare(cfg: ModelConfig, lengths: tuple[int, ...], oracle: Callable[[Any, np.ndarray], np.ndarray]) -> None:
    """Asserts that every document comes out as the oracle has it, and its slopes as finite differences have them."""
    mixer, params, x_BTD, places = draw(cfg, lengths)
    real = np.asarray(places.segments_BT[0]) > 0
    numbers = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    wanted = np.concatenate([oracle(numbers, x) for x in documents(x_BTD, places)])
    np.testing.assert_allclose(run(mixer, params, x_BTD, places)[0, real], wanted, atol=2e-5, rtol=2e-5)
    weight_TD = np.random.default_rng(0).normal(size=wanted.shape)

    def total(change: Any, size: float) -> float:
        moved = jax.tree.map(lambda a, d: a + size * d, numbers, change)
        return float(sum_of(np.concatenate([oracle(moved, x) for x in documents(x_BTD, places)]), weight_TD))

    slopes = jax.jit(jax.grad(lambda p: sum_of(run(mixer, p, x_BTD, places)[0, real], weight_TD)))(params)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: rng.normal(size=a.shape), numbers)
    along = jax.tree.map(lambda g, d: float(sum_of(np.asarray(g, np.float64), d)), slopes, direction)
    found = sum(jax.tree.leaves(along))
    np.testing.assert_allclose(found, (total(direction, 1e-5) - total(direction, -1e-5)) / 2e-5, rtol=2e-4)


def sum_of(values: Any, weights: np.ndarray) -> Any:
    return (values * weights).sum()


def convolve(params: Any, x_TC: np.ndarray) -> np.ndarray:
    """A causal convolution of one document, tap by tap."""
    y_TC, taps = np.tile(params["bias"], (len(x_TC), 1)), params["kernel"]
    for t in range(len(x_TC)):
        for back in range(min(t + 1, len(taps))):
            y_TC[t] += taps[len(taps) - 1 - back] * x_TC[t - back]
    return y_TC


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def linear(params: Any, x: np.ndarray) -> np.ndarray:
    return x @ params["kernel"] + params.get("bias", 0.0)
