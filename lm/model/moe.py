"""Mixture of experts (Shazeer et al., 2017): every token goes through its best few of many MLPs.

Dropless, every token reaches every expert it chose, whatever the batch: tokens are sorted by expert and each expert
multiplies its own. With a capacity (Lepikhin et al., 2021), an expert takes so many tokens of a row, the first ones,
and later ones pass by on the residual stream: what a row makes depends on its length and on its packing.

Dims: B batch, T time, D width, F expert width, E experts, K experts of a token, N tokens, R = N·K choices, C capacity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from lm.common import mesh as meshes
from lm.model import grouped, quantized
from lm.model.config import Layer, ModelConfig
from lm.model.context import Aux
from lm.model.linear import Linear
from lm.model.mlp import MLP, MLPS
from lm.model.roles import initialise, named
from lm.model.routing import Router, Routing

Weights: TypeAlias = dict[str, jax.Array]  # by role: `[E, I, O]` of kernels, `[E, O]` of biases


class Expert(nn.Module):
    """One linear map of all experts, its module name being its role."""

    cfg: ModelConfig
    shape: tuple[int, int, int]

    @nn.compact
    def __call__(self) -> Weights:
        """Returns the kernels and, under `mlp_bias`, the biases, in the compute dtype, by role."""
        shapes = {"kernel": self.shape, **({"bias": self.shape[::2]} if self.cfg.mlp_bias else {})}

        def parameter(leaf: str) -> jax.Array:
            role = f"{self.name}.{leaf}"
            value = self.param(leaf, lambda key: initialise(role, shapes[leaf], self.cfg, key))
            return jnp.asarray(value, self.cfg.dtype)

        return {f"{self.name}.{leaf}": parameter(leaf) for leaf in shapes}


class MoE(nn.Module):
    """The weighted sum of what a token's experts make of it, and of what a shared expert does."""

    cfg: ModelConfig
    layer: Layer

    @nn.compact
    def __call__(self, x_BTD: jax.Array, segments_BT: jax.Array) -> tuple[jax.Array, Aux]:
        """Maps `[B, T, D]` to itself; reports the sums of `routing` and, with a capacity, the choices `dropped`."""
        c, moe, n = self.cfg, self.cfg.moe, self.layer.n_experts
        routing = Router(c, n, name="router")(x_BTD, segments_BT)
        width = moe.d_ff or c.d_ff
        weights: Weights = {}
        for name in ("expert_gate", "expert_up") if MLPS[self.layer.mlp].gated else ("expert_up",):
            weights |= Expert(c, (n, c.d_model, width), name=name)()
        weights |= Expert(c, (n, width, c.d_model), name="expert_down")()
        if moe.capacity_factor:
            size = capacity(c, n, x_BTD.shape[1])
            y_BTD, dropped = with_capacity(self.layer, size, x_BTD, routing, weights, c.quantize)
            aux = {**routing.aux, "dropped": dropped}
        else:
            y_BTD, aux = dropless(self.layer, x_BTD, routing, weights, c.quantize), routing.aux
        if moe.shared_d_ff:
            y_BTD += self._shared(x_BTD)
        return y_BTD, aux

    def _shared(self, x_BTD: jax.Array) -> jax.Array:
        """Returns what the expert that every token goes to adds (Dai et al., 2024), gated where asked (Qwen2-MoE)."""
        c = self.cfg
        y_BTD = MLP(c, self.layer.mlp, c.moe.shared_d_ff, name="shared")(x_BTD)
        if c.moe.shared_gate:
            y_BTD *= nn.sigmoid(Linear(c, (c.d_model, 1), name="shared_gate")(x_BTD))
        return y_BTD


def capacity(cfg: ModelConfig, n_experts: int, length: int) -> int:
    """Returns how many tokens of a row of `length` an expert takes: `capacity_factor` even shares, at least one."""
    return max(1, math.ceil(cfg.moe.capacity_factor * cfg.moe.top_k * length / n_experts))


def _mlp(kind: str, weights: Weights, x: jax.Array, product: Callable[..., jax.Array], spread: Callable) -> jax.Array:
    """Runs every expert on its own rows; `product` multiplies by kernels, `spread` brings biases to the rows."""

    def linear(name: str, x: jax.Array) -> jax.Array:
        y = product(x, weights[f"{name}.kernel"])
        return y + spread(weights[f"{name}.bias"]) if f"{name}.bias" in weights else y

    into = ("expert_gate", "expert_up") if MLPS[kind].gated else ("expert_up",)
    return linear("expert_down", MLPS[kind].units(*(linear(name, x) for name in into)))


def dropless(layer: Layer, x_BTD: jax.Array, routing: Routing, weights: Weights, quantize: str = "none") -> jax.Array:
    """Sends every token to all of its experts.

    On a mesh each device sorts its own tokens, together with those of the devices it shares the experts with, and
    runs its own experts and its own units of them.
    """
    inputs = (x_BTD, routing.chosen_BTK, routing.weights_BTK)
    mesh = jax.sharding.get_abstract_mesh()
    tokens = meshes.spec(("batch", "time"))
    if mesh.empty or mesh.size == 1 or not meshes.divides(mesh, tokens, x_BTD.shape[:2]):
        return _sorted(layer.mlp, quantize, *inputs, weights)
    of_weights = {name: _activation_spec(named(name).axes) for name in weights}
    run = partial(_on_device, layer.mlp, quantize)
    return meshes.shard_map(run, in_specs=(tokens, tokens, tokens, of_weights), out_specs=tokens)(*inputs, weights)


def _activation_spec(axes: tuple[str, ...]) -> PartitionSpec:
    """Returns how experts' weights are split where they are used: whole along the width."""
    return meshes.spec(["embed_activation" if axis == "embed" else axis for axis in axes])


def _on_device(
    kind: str, quantize: str, x_BTD: jax.Array, chosen_BTK: jax.Array, weights_BTK: jax.Array, weights: Weights
) -> jax.Array:
    """Adds up what the experts here make of the tokens of all devices along `expert`, and takes back its own."""
    here = len(weights["expert_up.kernel"])
    x_BTD, chosen_BTK, weights_BTK = (
        jax.lax.all_gather(a, "expert", tiled=True) for a in (x_BTD, chosen_BTK, weights_BTK)
    )
    mine_BTK = chosen_BTK - here * jax.lax.axis_index("expert")
    mine_BTK = jnp.where((mine_BTK >= 0) & (mine_BTK < here), mine_BTK, here)
    if "expert_down.bias" in weights:  # once, not by every part of the units
        first = jax.lax.axis_index("tensor") == 0
        weights = {**weights, "expert_down.bias": weights["expert_down.bias"] * first}
    y_BTD = jax.lax.psum(_sorted(kind, quantize, x_BTD, mine_BTK, weights_BTK, weights), "tensor")
    return jax.lax.psum_scatter(y_BTD, "expert", tiled=True)


def _sorted(
    kind: str, quantize: str, x_BTD: jax.Array, chosen_BTK: jax.Array, weights_BTK: jax.Array, weights: Weights
) -> jax.Array:
    """Sorts tokens by expert, runs the experts, and adds each token's results, its best expert's first."""
    tiles = grouped.tiles(chosen_BTK.reshape(-1), len(weights["expert_up.kernel"]))
    product = partial(grouped.product, matrix_G=tiles.matrix_G, used=tiles.used, quantize=quantize)
    x_GSD = tiles.lay_out(x_BTD.reshape(-1, x_BTD.shape[-1]))
    y_GSD = _mlp(kind, weights, x_GSD, product, lambda bias_EO: bias_EO[tiles.matrix_G][:, None])
    return _weighted(tiles.collect(y_GSD).reshape(*chosen_BTK.shape, -1), weights_BTK)


def with_capacity(
    layer: Layer, size: int, x_BTD: jax.Array, routing: Routing, weights: Weights, quantize: str = "none"
) -> tuple[jax.Array, jax.Array]:
    """Lets each expert take the first `size` tokens of a row that chose it; returns also how many choices it drops."""
    b, t, top_k = routing.chosen_BTK.shape
    n = len(weights["expert_up.kernel"])
    chosen_BR = routing.chosen_BTK.reshape(b, -1)
    rank_BR, _ = jax.vmap(lambda chosen_R: grouped.ranks(chosen_R, n))(chosen_BR)
    taken_BR = (rank_BR < size) & (chosen_BR < n)
    place_BR = jnp.where(taken_BR, chosen_BR * size + rank_BR, n * size)
    x_BECD = jax.vmap(lambda x_TD, place_R: grouped.lay_out(x_TD, place_R, n, size))(x_BTD, place_BR)
    y_BECD = _mlp(layer.mlp, weights, x_BECD, partial(_by_expert, quantize), lambda bias_EO: bias_EO[:, None])
    y_BRD = jax.vmap(grouped.collect)(y_BECD, place_BR)
    dropped = jnp.sum((chosen_BR < n) & ~taken_BR).astype(jnp.float32)
    return _weighted(y_BRD.reshape(b, t, top_k, -1), routing.weights_BTK), dropped


def _by_expert(quantize: str, x_BECI: jax.Array, kernels_EIO: jax.Array) -> jax.Array:
    if quantize == "none":
        return jnp.einsum("beci,eio->beco", x_BECI, kernels_EIO)
    return jax.vmap(partial(quantized.product, kind=quantize), in_axes=(1, 0), out_axes=1)(x_BECI, kernels_EIO)


def _weighted(y_BTKD: jax.Array, weights_BTK: jax.Array) -> jax.Array:
    return jnp.sum(y_BTKD * weights_BTK[..., None], axis=-2).astype(y_BTKD.dtype)
