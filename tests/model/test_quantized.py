"""Products in eight bits: a slow oracle by hand, Qwix's own training provider, gradients, experts, whole models."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import qwix

from lm.common.errors import UserError
from lm.model import grouped, quantized
from lm.model.config import Latent, ModelConfig, Moe
from lm.model.decoder import Decoder, init

KINDS = sorted(quantized.FORMATS)
# The largest number of each type.
FULL = {"int8": 127.0, "float8_e4m3fn": 448.0, "float8_e5m2": 57344.0}
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
CFG = ModelConfig(96, 2, 4, 2, 32, 64, 8, 16)


def by_hand(a: np.ndarray, dtype: str, axis: int | tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rounds as each type does, by one scale along `axis`; returns what is stored, in float32, and the scales."""
    scale = np.abs(a).max(axis=axis, keepdims=True) / np.float32(FULL[dtype])
    scaled = a / scale
    if dtype == "int8":
        return np.clip(np.round(scaled), -128, 127).astype(np.float32), scale
    return np.clip(scaled, -FULL[dtype], FULL[dtype]).astype(getattr(ml_dtypes, dtype)).astype(np.float32), scale


def operands(rows: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x_RI, kernel_IO, dy_RO = (rng.normal(size=s).astype(np.float32) for s in ((rows, 24), (24, 10), (rows, 10)))
    return x_RI * np.linspace(0.01, 30, rows, dtype=np.float32)[:, None], kernel_IO, dy_RO


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_and_its_gradients_are_those_of_rounding_by_hand(kind: str) -> None:
    x_RI, kernel_IO, dy_RO = operands()
    forward, backward = quantized.FORMATS[kind]
    x8, x_scale = by_hand(x_RI, forward, 1)
    kernel8, kernel_scale = by_hand(kernel_IO, forward, 0)
    y_RO, pull = jax.vjp(partial(quantized.product, kind=kind), jnp.asarray(x_RI), jnp.asarray(kernel_IO))
    np.testing.assert_allclose(y_RO, (x8 * x_scale) @ (kernel8 * kernel_scale), rtol=1e-5, atol=1e-5)

    dx_RI, dkernel_IO = pull(jnp.asarray(dy_RO))
    to_x, to_x_scale = by_hand(dy_RO * kernel_scale, backward, 1)
    np.testing.assert_allclose(dx_RI, (to_x * to_x_scale) @ kernel8.T, rtol=1e-5, atol=1e-5)
    to_kernel, to_kernel_scale = by_hand(dy_RO * x_scale, backward, 0)
    np.testing.assert_allclose(dkernel_IO, x8.T @ (to_kernel * to_kernel_scale), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_that_of_qwix_own_provider(kind: str) -> None:
    """Bit for bit, gradients too, of a Flax layer whose product Qwix intercepts."""
    x_RI, kernel_IO, dy_RO = map(jnp.asarray, operands())
    forward, backward = quantized.FORMATS[kind]
    types: dict[str, Any] = {"weight_qtype": forward, "act_qtype": forward, "bwd_qtype": backward}
    method = quantized.CALIBRATION.get(forward, "absmax")
    how = {f"{operand}_calibration_method": method for operand in ("weight", "act", "bwd")}
    rule = qwix.QtRule(**{key: jnp.dtype(value) for key, value in types.items()}, **how)
    provider = qwix.QtProvider([rule])
    theirs = qwix.quantize_model(nn.Dense(10, use_bias=False), provider)
    want, pull = jax.vjp(lambda x, k: theirs.apply({"params": {"kernel": k}}, x), x_RI, kernel_IO)
    got, ours = jax.vjp(partial(quantized.product, kind=kind), x_RI, kernel_IO)
    jax.tree.map(np.testing.assert_array_equal, (got, *ours(dy_RO)), (want, *pull(dy_RO)))


def test_operands_of_the_products_are_in_eight_bits() -> None:
    """Forwards and backwards: nothing wider is multiplied, and integers add up in 32 bits."""

    def loss(x: jax.Array, kernel: jax.Array, kind: str) -> jax.Array:
        return jnp.sum(quantized.product(x, kernel, kind) ** 2)

    x_RI, kernel_IO, _ = map(jnp.asarray, operands())
    for kind, types in (("int8", {"int8"}), ("fp8", {"float8_e4m3fn", "float8_e5m2"})):
        jaxpr = jax.make_jaxpr(jax.grad(partial(loss, kind=kind), argnums=(0, 1)))(x_RI, kernel_IO)
        dots = [e for e in equations(jaxpr.jaxpr) if e.primitive.name == "dot_general"]
        assert len(dots) == 3
        assert {str(v.aval.dtype) for e in dots for v in e.invars} == types
        assert kind == "fp8" or {str(e.outvars[0].aval.dtype) for e in dots} == {"int32"}


def equations(jaxpr: Any) -> list[Any]:
    found = []
    for equation in jaxpr.eqns:
        inner = [v for p in equation.params.values() for v in (p if isinstance(p, tuple) else (p,))]
        found += [equation]
        for each in inner:
            each = getattr(each, "jaxpr", each)
            found += equations(each) if hasattr(each, "eqns") else []
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_grouped_products_are_those_of_each_matrix(kind: str) -> None:
    """Each row's is the product with its own matrix alone; gradients are near those of no rounding."""
    rng = np.random.default_rng(0)
    matrix_R = jnp.asarray(rng.integers(0, 3, 40))
    x_RI, kernels_EIO = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((40, 6), (3, 6, 5)))
    tiles = grouped.tiles(matrix_R, 3)

    def tiled(x_RI: jax.Array, kernels_EIO: jax.Array, quantize: str) -> jax.Array:
        laid_out = tiles.lay_out(x_RI)
        return tiles.collect(grouped.product(laid_out, kernels_EIO, tiles.matrix_G, tiles.used, quantize))

    alone = jax.vmap(partial(quantized.product, kind=kind))
    each = jit(alone)(x_RI[:, None], kernels_EIO[matrix_R])[:, 0]
    got, pull = jax.vjp(partial(tiled, quantize=kind), x_RI, kernels_EIO)
    np.testing.assert_allclose(got, each, rtol=1e-6)
    whole, pull_whole = jax.vjp(partial(tiled, quantize="none"), x_RI, kernels_EIO)
    assert near(got, whole) < 0.05
    for ours, theirs in zip(pull(got), pull_whole(got), strict=True):
        assert 0 < near(ours, theirs) < 0.1


def drawn(cfg: ModelConfig) -> Any:
    return jit(partial(init, cfg))(jax.random.key(0))


def near(a: jax.Array, b: jax.Array) -> float:
    """Returns how far apart two arrays are, over how long the second is."""
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense, unrolled": ("int8", {"scan_layers": False, "mlp_bias": True}),
    "latent, recomputed but products": (
        "fp8",
        {"mixer": "latent", "n_kv_heads": 4, "latent": Latent(kv_rank=8, rope_width=4), "remat": "dots"},
    ),
    "experts, recomputed": ("fp8", {"moe": Moe(n_experts=4), "remat": "block"}),
    "experts with a capacity": ("int8", {"moe": Moe(n_experts=4, capacity_factor=2.0)}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_near_itself_without_and_its_parameters_are_the_same(name: str) -> None:
    kind, changes = MODELS[name]
    plain = replace(CFG, **changes)
    eight = replace(plain, quantize=kind)
    params = drawn(plain)
    assert jax.tree.map(jnp.shape, jax.eval_shape(partial(init, eight), jax.random.key(0))) == jax.tree.map(
        jnp.shape, params
    )
    tokens = jax.random.randint(jax.random.key(1), (2, CFG.max_seq_len), 0, CFG.vocab_size)

    def loss(params: Any, cfg: ModelConfig) -> tuple[jax.Array, jax.Array]:
        logits = Decoder(cfg).apply({"params": params}, tokens).logits_BTV
        return jnp.mean(jax.nn.logsumexp(logits, -1) - logits[..., 0]), logits

    slope = jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, logits), grads = slope(params, plain)
    (_, rounded), rounded_grads = slope(params, eight)
    routes = "moe" in changes  # a token may go to another expert
    assert 0 < near(rounded, logits) < (0.5 if routes else 0.2)
    if not routes:
        for ours, theirs in zip(jax.tree.leaves(rounded_grads), jax.tree.leaves(grads), strict=True):
            assert ours.dtype == jnp.float32
            assert near(ours, theirs) < 0.5


def test_the_head_embedding_and_router_are_left_out() -> None:
    """Of a model whose layers are nothing but a router and experts that are zero, nothing is rounded."""
    cfg = replace(CFG, n_layers=1, moe=Moe(n_experts=4), tie_embeddings=False)
    params = drawn(cfg)
    params["layers"] = jax.tree.map(jnp.zeros_like, params["layers"])
    tokens = jnp.arange(16)[None]
    logits = jit(lambda cfg: Decoder(cfg).apply({"params": params}, tokens).logits_BTV, static_argnums=0)
    plain, eight = (logits(replace(cfg, quantize=kind)) for kind in ("none", "int8"))
    np.testing.assert_array_equal(plain, eight)


def test_float16_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.quantize=int8: .* set model.dtype=bfloat16"):
        replace(CFG, quantize="int8", dtype="float16")
