"""Hyper-connections: a layer against the sums written out, and that they start as the ordinary residual."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model import decoder
from lm.model.attention import Places
from lm.model.block import Block
from lm.model.config import ModelConfig, Moe
from lm.model.context import Context, Stream
from lm.model.decoder import Decoder
from lm.model.hyper import Weighted
from lm.model.mixers.attention import Attention
from lm.model.mlp import MLP
from lm.train.step import loss_sums

from .architectures import parameters

P, T, D = 3, 4, 8
BASE = ModelConfig(11, 3, 2, 2, D, 12, 4, 16, residual_scale=0.5, hyper_streams=P)
X_TPD = np.random.default_rng(0).normal(size=(T, P, D))
CONTEXT = Context(Places(jnp.ones((1, T), jnp.int32), jnp.arange(T)[None]))


def by_hand(cfg: ModelConfig, params: Any, number: int) -> np.ndarray:
    """Returns the streams after layer `number`, token by token and stream by stream, in float64."""
    mixer = jax.jit(partial(Attention(cfg, cfg.layers[0]).apply, {"params": params["mixer"]}))
    mlp = jax.jit(partial(MLP(cfg, "swiglu").apply, {"params": params["mlp"]}))
    branches = {"mixer": lambda x: mixer(x, Stream(x), CONTEXT, None)[0], "mlp": mlp}

    def norm(values: Any, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + cfg.norm_epsilon) * np.asarray(values["scale"])

    x_TPD = X_TPD
    for site, (branch, apply) in enumerate(branches.items()):
        own = jax.tree.map(lambda a: np.asarray(a, np.float64), params[f"{branch}_hyper"])
        read_TP = np.tile(own["read"] + np.eye(P)[(number + site) % P], (T, 1))
        mix_TPQ, write_TQ = np.tile(own["mix"] + np.eye(P), (T, 1, 1)), np.tile(own["write"] + 1, (T, 1))
        if cfg.hyper_dynamic:
            for t in range(T):
                for p in range(P):
                    found = np.tanh(norm(own["hyper_norm"], x_TPD[t, p]) @ own["kernel"])
                    read_TP[t, p] += own["factors"][0] * found[0]
                    mix_TPQ[t, p] += own["factors"][0] * found[1 : P + 1]
                    write_TQ[t, p] += own["factors"][1] * found[P + 1]
        in_TD = np.stack([sum(read_TP[t, p] * x_TPD[t, p] for p in range(P)) for t in range(T)])
        if cfg.norm_placement != "output":
            in_TD = norm(params[f"{branch}_norm"], in_TD)
        out_TD = np.asarray(apply(jnp.asarray(in_TD, jnp.float32)[None])[0], np.float64)
        if cfg.norm_placement != "pre":
            out_TD = norm(params[f"{branch}_post_norm"], out_TD)
        after = np.zeros_like(x_TPD)
        for t in range(T):
            for q in range(P):
                after[t, q] = write_TQ[t, q] * 0.5 * out_TD[t]
                after[t, q] += sum(mix_TPQ[t, p, q] * x_TPD[t, p] for p in range(P))
        x_TPD = after
    return x_TPD


@pytest.mark.parametrize(
    ("dynamic", "placement", "number"), [(False, "pre", 0), (False, "output", 5), (True, "sandwich", 1)]
)
def test_a_layer_is_the_sums_written_out(dynamic: bool, placement: Any, number: int) -> None:
    cfg = replace(BASE, hyper_dynamic=dynamic, norm_placement=placement)
    params = jax.tree.map(lambda a: a[0], parameters(cfg)["layers"]["block_0"])
    stream = Stream(jnp.asarray(X_TPD, jnp.float32)[None])
    found, _, _ = jax.jit(Block(cfg, cfg.layers[0]).apply)({"params": params}, stream, CONTEXT._replace(layer=number))
    np.testing.assert_allclose(found.x[0], by_hand(cfg, params, number), rtol=1e-4, atol=1e-5)


@partial(jax.jit, static_argnums=0)
def start(cfg: ModelConfig) -> Any:
    return decoder.init(cfg, jax.random.key(2))


def plain(params: Any) -> Any:
    """Returns the parameters without those of hyper-connections."""
    if not isinstance(params, dict):
        return params
    return {name: plain(part) for name, part in params.items() if not name.endswith("_hyper")}


def batch() -> dict[str, jax.Array]:
    tokens_BT = jnp.asarray(np.random.default_rng(1).integers(0, BASE.vocab_size, (2, T + 3)))
    ones_BT = jnp.ones_like(tokens_BT)
    places_BT = jnp.broadcast_to(jnp.arange(T + 3), tokens_BT.shape)
    return {
        "tokens": tokens_BT, "targets": jnp.roll(tokens_BT, -1, 1), "segments": ones_BT, "positions": places_BT,
        "loss_mask": ones_BT.astype(jnp.float32),
    }  # fmt: skip


@partial(jax.jit, static_argnums=0)
def logits(cfg: ModelConfig, params: Any) -> jax.Array:
    keys_B = jax.random.split(jax.random.key(5), 2)
    return Decoder(cfg).apply({"params": params}, batch()["tokens"], dropout_keys_B=keys_B).logits_BTV


@partial(jax.jit, static_argnums=0)
def gradient(cfg: ModelConfig, params: Any) -> Any:
    def loss(params: Any) -> jax.Array:
        sums = loss_sums(cfg, params, batch(), None)
        return sums.nats + sums.ahead

    return jax.grad(loss)(params)


STARTS: dict[str, dict[str, Any]] = {
    "dropout": {"hyper_dynamic": True, "dropout": 0.2},
    "sandwich": {"hyper_dynamic": True, "norm_placement": "sandwich", "norm": "tanh", "mlp": ("swiglu", "none")},
    "no final norm": {"hyper_streams": 2, "norm": "layer", "final_norm": False, "value_residual": True},
    "experts": {"norm_placement": "output", "moe": Moe((0, 4)), "n_layers": 2, "scan_layers": False},
}


def ordinary(cfg: ModelConfig) -> ModelConfig:
    return replace(cfg, hyper_streams=1, hyper_dynamic=False)


@pytest.mark.parametrize("name", STARTS)
def test_the_start_is_the_ordinary_residual(name: str) -> None:
    cfg = replace(BASE, **STARTS[name])
    params = start(cfg)
    np.testing.assert_allclose(logits(cfg, params), logits(ordinary(cfg), plain(params)), rtol=1e-4, atol=1e-5)


def test_so_are_gradients() -> None:
    """Of the parameters that both have, those of the depth that foretells among them."""
    cfg = replace(BASE, hyper_dynamic=True, predict_ahead=1, remat="block")
    params = start(cfg)
    found, wanted = plain(gradient(cfg, params)), gradient(ordinary(cfg), plain(params))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), found, wanted)


def test_streams_grow_apart() -> None:
    """Streams that no branch tells apart would have equal gradients for ever: every two differ where layers follow."""
    cfg = replace(BASE, n_layers=5)
    found = gradient(cfg, start(cfg))
    mix_LPQ = np.asarray(found["layers"]["block_0"]["mixer_hyper"]["mix"])
    for layer in range(3):  # which two or more layers follow
        for p in range(P):
            for q in range(p):
                assert np.abs(mix_LPQ[layer, :, p] - mix_LPQ[layer, :, q]).max() > 1e-3 * np.abs(mix_LPQ[layer]).max()


def test_weights_are_float32_where_the_streams_are_not() -> None:
    """A weight that bfloat16 cannot tell from 1 acts: 256 · (1 + 2⁻⁸) is 257, of which bfloat16 keeps 256 or 258."""
    x_BTPD = jnp.asarray([256.0, -255.0], jnp.bfloat16)[None, None, :, None]
    weights = Weighted(jnp.asarray([1.0 + 2**-8, 1.0]), jnp.eye(2), jnp.ones(2))
    read_BTD = weights.read(x_BTPD)
    assert (read_BTD.dtype, float(read_BTD[0, 0, 0])) == (jnp.bfloat16, 2.0)
