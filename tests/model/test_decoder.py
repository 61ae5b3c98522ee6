"""Properties that hold for every architecture."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model import cache, cost, decoder
from lm.model.attention import Places, Scores, attend
from lm.model.attention.xla import QUERY_BLOCK
from lm.model.config import ModelConfig
from lm.model.context import Context
from lm.model.decoder import Decoder, Layers, Output, begin
from lm.model.roles import path_names, role_of

TOLERANCE = 2e-6


@pytest.fixture
def params(model_config: ModelConfig) -> dict:
    return jax.jit(decoder.init, static_argnums=0)(model_config, jax.random.key(0))


def tokens(cfg: ModelConfig, shape: tuple[int, ...], seed: int = 1) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), shape, 0, cfg.vocab_size)


@partial(jax.jit, static_argnums=0)
def logits(cfg: ModelConfig, params: dict, *args: jax.Array, **kwargs: jax.Array) -> jax.Array:
    return Decoder(cfg).apply({"params": params}, *args, **kwargs).logits_BTV


def test_no_position_sees_the_future(model_config: ModelConfig, params: dict) -> None:
    """d logits[t] / d embedding[s] is exactly zero for s > t, and not zero for s <= t."""
    t = 9

    places = Places(jnp.ones((1, t), jnp.int32), jnp.arange(t)[None])
    layers = Layers(model_config)

    def outputs(x_TD: jax.Array) -> jax.Array:
        y_BTD, _, _ = layers.apply({"params": params["layers"]}, begin(model_config, x_TD[None]), Context(places), None)
        return y_BTD[0].sum(axis=-1)

    x_TD = jax.random.normal(jax.random.key(2), (t, model_config.d_model))
    influence_TS = jnp.abs(jax.jit(jax.jacobian(outputs))(x_TD)).sum(axis=-1)
    assert np.all(np.triu(influence_TS, k=1) == 0)
    assert np.all(influence_TS[np.tril_indices(t)] > 0)


@pytest.mark.parametrize(("remat", "expected"), [("none", False), ("dots", True), ("block", True)])
@pytest.mark.parametrize("scan", [True, False])
def test_rematerialisation_is_in_the_program(
    model_config: ModelConfig, params: dict, remat: str, expected: bool, scan: bool
) -> None:
    """The gradient's program holds a rematerialised region exactly if the config asks for one."""
    cfg = dataclasses.replace(model_config, remat=remat, scan_layers=scan)
    x_BT = tokens(cfg, (1, 4))
    program = str(
        jax.make_jaxpr(jax.grad(lambda p: jnp.sum(Decoder(cfg).apply({"params": p}, x_BT).logits_BTV)))(params)
    )
    assert ("remat" in program or "checkpoint[" in program) == expected


@pytest.mark.parametrize("change", [{"scan_layers": False}, {"remat": "block"}, {"remat": "dots"}])
def test_execution_choices_change_nothing(model_config: ModelConfig, params: dict, change: dict) -> None:
    """Unrolled equals scanned, and recomputing equals storing, in values and in gradients."""
    x_BT = tokens(model_config, (2, 11))

    def loss(p: dict, cfg: ModelConfig) -> jax.Array:
        return jnp.mean(jax.nn.log_softmax(logits(cfg, p, x_BT))[..., 0])

    changed = dataclasses.replace(model_config, **change)
    value_and_grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    (a, grad_a), (b, grad_b) = (value_and_grad(params, cfg) for cfg in (model_config, changed))
    np.testing.assert_allclose(a, b, rtol=1e-6)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=TOLERANCE), grad_a, grad_b)


@partial(jax.jit, static_argnums=0)
def read(cfg: ModelConfig, params: dict, x_BT: jax.Array, positions_BT: jax.Array, state: cache.Cache) -> Output:
    return Decoder(cfg).apply({"params": params}, x_BT, positions_BT=positions_BT, cache=state)


@pytest.mark.parametrize("pieces", [(11,), (1,) * 11, (4, 1, 6)])
def test_cached_equals_full(model_config: ModelConfig, params: dict, pieces: tuple[int, ...]) -> None:
    """Reading in any pieces through the cache gives the logits of reading at once."""
    x_BT = tokens(model_config, (2, sum(pieces)))
    state, parts, start = cache.empty(model_config, 2, 16), [], 0
    for piece in pieces:
        stop = start + piece
        positions_BT = jnp.broadcast_to(jnp.arange(start, stop), (2, piece))
        output = read(model_config, params, x_BT[:, start:stop], positions_BT, state)
        state, start = output.cache, stop
        parts.append(output.logits_BTV)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), logits(model_config, params, x_BT), atol=TOLERANCE)


def test_packed_equals_unpacked(model_config: ModelConfig, params: dict) -> None:
    """Documents that share a row are as if each had a row of its own."""
    lengths = (5, 1, 7)
    documents = [tokens(model_config, (1, n), seed=n) for n in lengths]
    segments_BT = jnp.repeat(jnp.arange(1, 4), jnp.asarray(lengths))[None]
    positions_BT = jnp.concatenate([jnp.arange(n) for n in lengths])[None]
    packed_BTV = logits(model_config, params, jnp.concatenate(documents, axis=1), segments_BT, positions_BT)
    alone_BTV = jnp.concatenate([logits(model_config, params, document) for document in documents], axis=1)
    np.testing.assert_allclose(packed_BTV, alone_BTV, atol=TOLERANCE)


def test_a_row_does_not_depend_on_its_batch(model_config: ModelConfig, params: dict) -> None:
    x_BT = tokens(model_config, (4, 8))
    whole_BTV = logits(model_config, params, x_BT)
    rows_BTV = jnp.concatenate([logits(model_config, params, x_BT[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(whole_BTV, rows_BTV, atol=TOLERANCE)


def test_padding_is_finite_and_unseen(model_config: ModelConfig, params: dict) -> None:
    """Padding (segment 0) yields finite numbers and changes nothing for the rest of its row."""
    x_BT = tokens(model_config, (1, 6))
    padded_BT = jnp.concatenate([jnp.zeros((1, 3), jnp.int32), x_BT], axis=1)
    segments_BT = jnp.asarray([[0] * 3 + [1] * 6])
    positions_BT = jnp.asarray([[0] * 3 + list(range(6))])
    padded_BTV = logits(model_config, params, padded_BT, segments_BT, positions_BT)
    assert np.all(np.isfinite(padded_BTV))
    np.testing.assert_allclose(padded_BTV[:, 3:], logits(model_config, params, x_BT), atol=TOLERANCE)


def test_dropout_follows_the_row_and_the_layer(model_config: ModelConfig, params: dict) -> None:
    """A row's mask comes with its key: the same wherever the row stands, another for another key."""
    cfg = dataclasses.replace(model_config, dropout=0.3)
    x_BT = jnp.broadcast_to(tokens(cfg, (1, 8)), (3, 8))
    keys_B = jax.random.split(jax.random.key(5), 3)
    out_BTV = logits(cfg, params, x_BT, dropout_keys_B=keys_B)
    moved_BTV = logits(cfg, params, x_BT, dropout_keys_B=keys_B[::-1])
    np.testing.assert_allclose(out_BTV, moved_BTV[::-1], atol=TOLERANCE)
    assert np.abs(out_BTV[0] - out_BTV[1]).max() > 1e-3
    np.testing.assert_array_equal(logits(cfg, params, x_BT), logits(model_config, params, x_BT))
    unrolled = dataclasses.replace(cfg, scan_layers=False)
    np.testing.assert_allclose(out_BTV, logits(unrolled, params, x_BT, dropout_keys_B=keys_B), atol=TOLERANCE)


def test_initial_spread_is_what_the_table_says() -> None:
    """Measured standard deviations match each role's, and norms begin as ones."""
    cfg = ModelConfig(64, 8, 8, 4, 128, 256, 16, 32)
    params = decoder.init(cfg, jax.random.key(3))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = path_names(path)
        role = role_of(names)
        if role.start is not None:
            assert np.all(leaf == 1)
        else:
            std = role.std(leaf.shape[1:] if names[0] == "layers" else leaf.shape, cfg)
            np.testing.assert_allclose(leaf.std(), std, rtol=0.05, err_msg="/".join(names))
            np.testing.assert_allclose(leaf.mean(), 0, atol=0.05 * std)
    first, second = params["layers"]["block_0"]["mixer"]["q"]["kernel"][:2]
    assert np.abs(first - second).max() > 0.01, "every layer has a key of its own"


def test_parameters_and_flops_on_paper(model_config: ModelConfig) -> None:
    """The counts agree with the sums one would write down."""
    c = model_config
    layer = 2 * c.d_model * c.head_width * (c.n_heads + c.n_kv_heads) + 3 * c.d_model * c.d_ff
    table = c.vocab_size * c.d_model
    norms = (2 * c.n_layers + 1) * c.d_model
    assert cost.n_params(c) == c.n_layers * layer + norms + table * (1 if c.tie_embeddings else 2)
    expected = 6 * (c.n_layers * layer + table) + 12 * c.n_layers * c.n_heads * c.head_width * 16
    assert cost.flops_per_token(c, 16) == expected


def attention_oracle(q: np.ndarray, k: np.ndarray, v: np.ndarray, segments: np.ndarray, positions: np.ndarray):
    """One query, one head and one key at a time, in float64."""
    out = np.zeros(q.shape)
    b, t, h, n = q.shape
    for row in range(b):
        for head in range(h):
            shared = head * k.shape[2] // h
            for i in range(t):
                seen = [
                    j
                    for j in range(t)
                    if segments[row, j] == segments[row, i] and positions[row, j] <= positions[row, i]
                ]
                scores = np.array([q[row, i, head] @ k[row, j, shared] / np.sqrt(n) for j in seen])
                weights = np.exp(scores - scores.max())
                out[row, i, head] = (weights / weights.sum()) @ v[row, seen, shared]
    return out


@pytest.mark.parametrize("t", [7, QUERY_BLOCK + 5])
def test_attention_matches_its_oracle(t: int) -> None:
    """With documents, groups of heads, and rows longer than one block of queries."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, t, heads, 4)).astype(np.float32) for heads in (4, 2, 2))
    segments = np.sort(rng.integers(1, 4, (2, t)), axis=1)
    positions = np.array([[i - list(row).index(s) for i, s in enumerate(row)] for row in segments])
    places = Places(jnp.asarray(segments), jnp.asarray(positions))
    out = attend("xla", *map(jnp.asarray, (q, k, v)), places, places, Scores(scale=0.5), aligned=True)
    np.testing.assert_allclose(out, attention_oracle(q, k, v, segments, positions), atol=1e-6)


def test_bfloat16_is_close_and_parameters_stay_float32(model_config: ModelConfig, params: dict) -> None:
    x_BT = tokens(model_config, (2, 8))
    low_BTV = logits(dataclasses.replace(model_config, dtype="bfloat16"), params, x_BT)
    assert low_BTV.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    difference = np.abs(low_BTV - logits(model_config, params, x_BT)).max()
    assert 0 < difference < 0.1
