"""What every mixer that carries a state must hold to: documents are apart, padding is nothing, pieces are the whole."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.model import cache
from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.context import Context
from lm.model.decoder import Decoder, Layers, Output, begin
from lm.model.mixers.recurrent import accumulate
from lm.model.roles import path_names
from tests.model import architectures

TOLERANCE = 5e-6

SHAPE = {
    "vocab_size": 37, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "d_model": 16, "d_ff": 24, "head_width": 4,
    "max_seq_len": 32,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "cells": {"mixer": ("gru", "lstm"), "mlp": ("swiglu", "none"), "recurrent": {"width": 24, "bias": True}},
    "scans": {"mixer": ("linear", "ssm", "attention"), "mlp": ("swiglu", "none", "gelu"), "position": "rope"}
    | {"window": 4, "recurrent": {"state_width": 3, "bias": True}},
}


@pytest.fixture(params=KINDS)
def cfg(request: pytest.FixtureRequest) -> ModelConfig:
    return ModelConfig.from_dict({**SHAPE, **KINDS[request.param]})


@pytest.fixture
def params(cfg: ModelConfig) -> Any:
    return architectures.parameters(cfg)


def tokens(shape: tuple[int, ...], seed: int = 1) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(0, SHAPE["vocab_size"], shape), jnp.int32)


def apply(cfg: ModelConfig, params: Any, *args: Any, **kwargs: Any) -> Output:
    return Decoder(cfg).apply({"params": params}, *args, **kwargs)


def through(cfg: ModelConfig, params: Any, x_BTD: jax.Array, places: Places) -> jax.Array:
    stream = begin(cfg, x_BTD)
    return Layers(cfg).apply({"params": params["layers"]}, stream, Context(places), None)[0]


run, layers = jax.jit(apply, static_argnums=0), jax.jit(through, static_argnums=0)


@partial(jax.jit, static_argnums=0)
def slopes(cfg: ModelConfig, params: Any, x_BTD: jax.Array, places: Places, weight_BT: jax.Array) -> jax.Array:
    """Returns how the weighted sum of what comes out moves with each number that goes in."""
    return jax.grad(lambda x: jnp.sum(through(cfg, params, x, places) ** 2 * weight_BT[..., None]))(x_BTD)


def packed(lengths: tuple[int, ...], rows: int = 2) -> Places:
    """Rows of documents; a length below 0 is padding."""
    segments = np.concatenate([np.full(abs(n), 0 if n < 0 else i + 1) for i, n in enumerate(lengths)])
    positions = np.concatenate([np.zeros(-n, int) if n < 0 else np.arange(n) for n in lengths])
    return Places(*(jnp.broadcast_to(jnp.asarray(a, jnp.int32), (rows, len(a))) for a in (segments, positions)))


def test_documents_are_apart_in_values_and_gradients(cfg: ModelConfig, params: Any) -> None:
    """Each of two documents is as if alone, and no derivative crosses their border."""
    x_BTD = jnp.asarray(np.random.default_rng(2).normal(size=(2, 12, SHAPE["d_model"])), jnp.float32)
    both = layers(cfg, params, x_BTD, packed((6, 6)))
    for part in (slice(0, 6), slice(6, 12)):
        alone = layers(cfg, params, x_BTD[:, part], packed((6,)))
        np.testing.assert_allclose(both[:, part], alone, atol=TOLERANCE, rtol=TOLERANCE)
        weight_BT = jnp.zeros((2, 12)).at[:, part].set(1.0)
        influence_BT = np.abs(slopes(cfg, params, x_BTD, packed((6, 6)), weight_BT)).sum(-1)
        np.testing.assert_array_equal(influence_BT > 0, weight_BT > 0)


@pytest.mark.parametrize("lengths", [(-3, 9), (9, -3), (-1, 4, -1, 5, -1)])
def test_padding_changes_nothing(cfg: ModelConfig, params: Any, lengths: tuple[int, ...]) -> None:
    """Before, behind and between documents, whatever stands there, in values and in gradients."""
    places = packed(lengths)
    real_BT = places.segments_BT > 0
    real = np.asarray(real_BT[0])
    x_BT = tokens((2, 12))
    logits = run(cfg, params, x_BT, *places).logits_BTV
    assert np.all(np.isfinite(logits))
    other = run(cfg, params, jnp.where(real_BT, x_BT, 5), *places).logits_BTV
    np.testing.assert_array_equal(logits[:, real], other[:, real])
    wanted = run(cfg, params, x_BT[:, real], *(a[:, real] for a in places)).logits_BTV
    np.testing.assert_allclose(logits[:, real], wanted, atol=TOLERANCE, rtol=TOLERANCE)
    x_BTD = jnp.asarray(np.random.default_rng(2).normal(size=(2, 12, SHAPE["d_model"])), jnp.float32)
    influence_BT = np.abs(slopes(cfg, params, x_BTD, places, real_BT * 1.0)).sum(-1)
    np.testing.assert_array_equal(influence_BT > 0, real_BT)


# Padding in each piece on its own, so that it also comes to stand inside a document.
ROWS = {
    "one token at a time": [(1,)] * 9,
    "some at a time": [(3,), (1,), (3,), (1,), (1,)],
    "padded on the left": [(-2, 1), (-1, 2), (3,), (-1, 2), (1,)],
    "padded on the right": [(2, -1), (1, -2), (3,), (1, -2), (2, -1)],
    "padding alone": [(-3,), (3,), (-3,), (-1,), (3,), (3,)],
}


@pytest.mark.parametrize("pieces", ROWS.values(), ids=ROWS)
def test_pieces_through_the_cache_are_the_whole(cfg: ModelConfig, params: Any, pieces: list[tuple[int, ...]]) -> None:
    x_BT, read, got = tokens((2, 9)), 0, []
    state = cache.empty(cfg, 2, 32)
    for piece in pieces:
        real = np.concatenate([np.full(abs(n), n > 0) for n in piece])
        n = int(real.sum())
        given_BT = np.full((2, len(real)), 3, np.int32)
        given_BT[:, real] = x_BT[:, read : read + n]
        positions = np.where(real, read + np.cumsum(real) - 1, 0)
        places = (np.broadcast_to(a.astype(np.int32), given_BT.shape) for a in (real, positions))
        output = run(cfg, params, given_BT, *places, cache=state)
        assert jax.tree.map(jnp.shape, output.cache) == jax.tree.map(jnp.shape, state)
        state, read = output.cache, read + n
        got.append(output.logits_BTV[:, real])
    whole = run(cfg, params, x_BT, *packed((9,))).logits_BTV
    np.testing.assert_allclose(jnp.concatenate(got, axis=1), whole, atol=TOLERANCE, rtol=TOLERANCE)


def test_rows_go_through_the_cache_each_at_its_own_pace(cfg: ModelConfig, params: Any) -> None:
    """One row is padded on the left, one on the right; then each goes on."""
    x_BT = tokens((2, 9))
    whole = run(cfg, params, x_BT, *packed((9,))).logits_BTV
    state = cache.empty(cfg, 2, 32)
    given_BT = jnp.stack([jnp.concatenate([x_BT[0, :1] * 0, x_BT[0, :2]]), jnp.pad(x_BT[1, :1], (0, 2))])
    segments_BT, positions_BT = jnp.asarray([[0, 1, 1], [1, 0, 0]]), jnp.asarray([[0, 0, 1], [0, 0, 0]])
    state = run(cfg, params, given_BT, segments_BT, positions_BT, cache=state).cache
    for step in range(6):
        position_B1 = jnp.asarray([[2], [1]]) + step
        token_B1 = jnp.take_along_axis(x_BT, position_B1, axis=1)
        output = run(cfg, params, token_B1, jnp.ones_like(token_B1), position_B1, cache=state)
        state = output.cache
        wanted = jnp.take_along_axis(whole, position_B1[..., None], axis=1)
        np.testing.assert_allclose(output.logits_BTV, wanted, atol=TOLERANCE, rtol=TOLERANCE)


def test_states_are_float32_and_do_not_grow_with_the_text(cfg: ModelConfig, params: Any) -> None:
    low = dataclasses.replace(cfg, dtype="bfloat16")
    short, long = (cache.empty(low, 2, slots) for slots in (8, 80))
    for stack in low.stacks:
        if not stack.layer.attends:
            assert jax.tree.map(jnp.shape, short.layers[stack.name]) == jax.tree.map(jnp.shape, long.layers[stack.name])
            assert short.layers[stack.name]["h"].dtype == jnp.float32
    after = run(low, params, tokens((2, 3)), *packed((3,)), cache=short).cache
    assert jax.tree.map(lambda a: a.dtype, after) == jax.tree.map(lambda a: a.dtype, short)


def test_gradients_are_finite_over_256_tokens(cfg: ModelConfig, params: Any) -> None:
    """Also at parameters ten times as large, where gates are shut or open to the last digit."""
    x_BT = tokens((1, 256))

    @jax.jit
    def loss_slopes(p: Any) -> Any:
        return jax.grad(lambda p: jnp.mean(jax.nn.log_softmax(apply(cfg, p, x_BT).logits_BTV)[..., 0]))(p)

    for scale in (1.0, 10.0):
        found = loss_slopes(jax.tree.map(lambda a, s=scale: s * a, params))
        for path, leaf in jax.tree_util.tree_leaves_with_path(found):
            assert np.all(np.isfinite(leaf)), path_names(path)
            if scale == 1.0:
                assert np.any(leaf != 0), path_names(path)


def test_the_linear_recurrence_is_the_loop() -> None:
    """Against one number after another in float64, with documents and padding."""
    rng = np.random.default_rng(0)
    decay, write, state = rng.uniform(0, 1, (2, 13, 3)), rng.normal(size=(2, 13, 3)), rng.normal(size=(2, 3))
    places = packed((-2, 4, -1, 3, 1, -2))
    places = places._replace(positions_BT=places.positions_BT.at[1].add(1))  # goes on with what was before the row
    found = accumulate(*(jnp.asarray(a, jnp.float32) for a in (decay, write, state)), places)
    for row in range(2):
        h = state[row]
        for t in range(13):
            if places.segments_BT[row, t] > 0:
                h = (0 if places.positions_BT[row, t] == 0 else decay[row, t] * h) + write[row, t]
            np.testing.assert_allclose(found[row, t], h, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"mixer": "linear", "recurrent": {"blocks": 3}},
            "model.recurrent.blocks=3: must divide the width of the recurrence, 16; set it, or model.recurrent.width",
        ),
        ({"mixer": "ssm", "recurrent": {"conv_width": 0}}, "model.recurrent.conv_width=0: must be at least 1"),
        ({"recurrent": {"width": 8}}, "model.recurrent.width=8: would change nothing, as no layer carries a state"),
        ({"mixer": "gru", "recurrent": {"conv_width": 2}}, "as no layer has model.mixer=linear or ssm"),
        ({"mixer": "ssm", "recurrent": {"blocks": 2}}, "as no layer has model.mixer=linear"),
        ({"mixer": "linear", "recurrent": {"state_width": 2}}, "as no layer has model.mixer=ssm"),
        ({"mixer": "linear", "recurrent": {"step_rank": 2}}, "as no layer has model.mixer=ssm"),
        ({"mixer": "lstm", "recurrent": {"bias": True}}, "as no layer has a map that goes without"),
        ({"mixer": "gru", "window": 4}, "model.window=4: would change nothing, as no layer attends"),
        ({"mixer": "ssm", "position": "alibi"}, "model.position=alibi: would change nothing, as no layer attends"),
        ({"mixer": "ssm", "rope": {"theta": 500.0}}, "as no layer has model.position=rope"),
        ({"mixer": ("gru", "attention"), "value_residual": True}, "model.mixer says otherwise"),
    ],
)
def test_refusals(change: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        ModelConfig.from_dict({**SHAPE, **change})
    assert message in str(error.value)
