"""The parts of a block: linear maps, RMSNorm, attention, SwiGLU, dropout.

Dims: B batch, T query time, S key time, D width, F FFN width, H query heads, K key/value heads, N head width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model import cache as kv
from lm.model.attention import Places, attend
from lm.model.config import ModelConfig
from lm.model.roles import ROLES, initialise
from lm.model.rope import rotate


class Context(NamedTuple):
    """What every layer is told beside its input.

    `dropout_keys_B` is one key a row (None switches dropout off); `layer` numbers the layers from 0.
    `slots` places the row's cached tokens, this call's included; `start` is the slot of this call's first token.
    """

    places: Places
    dropout_keys_B: jax.Array | None = None
    layer: jax.Array | int = 0
    slots: Places | None = None
    start: jax.Array | int = 0


class Linear(nn.Module):
    """A bias-free linear map whose module name is its role; contracts the role's `n_in` leading dimensions."""

    cfg: ModelConfig
    shape: tuple[int, ...]
    out_dtype: str | None = None  # the compute dtype if left out

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., *inputs]` to `[..., *outputs]`."""
        role = f"{self.name}.kernel"
        kernel = self.param("kernel", lambda key: initialise(role, self.shape, self.cfg, key))
        inputs, outputs = self.shape[: ROLES[role].n_in], self.shape[ROLES[role].n_in :]
        batch = x.shape[: x.ndim - len(inputs)]
        # One two-dimensional product: a weight gradient that contracts two leading axes goes through layout copies.
        kernel_IO = kernel.astype(self.cfg.dtype).reshape(math.prod(inputs), -1)
        flat = jnp.dot(x.reshape(-1, math.prod(inputs)), kernel_IO, preferred_element_type=self.out_dtype)
        return flat.reshape(*batch, *outputs)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (Zhang & Sennrich, 2019), computed in float32."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Scales each `[D]` vector to unit mean square, times a learned scale."""
        scale_D = self.param("scale", lambda key: initialise("norm.scale", x_BTD.shape[-1:], self.cfg, key))
        x_BTD = x_BTD.astype(jnp.float32)
        mean_square_BT1 = jnp.mean(jnp.square(x_BTD), axis=-1, keepdims=True)
        return (x_BTD * jax.lax.rsqrt(mean_square_BT1 + self.cfg.norm_epsilon) * scale_D).astype(self.cfg.dtype)


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al., 2023); K = H is multi-head, K = 1 multi-query."""

    cfg: ModelConfig

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, context: Context, cached: tuple[jax.Array, jax.Array] | None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array] | None]:
        """Returns the mixed `[B, T, D]` and, where `cached` holds `[B, S, K, N]` keys and values, both extended."""
        c = self.cfg
        q_BTHN = Linear(c, (c.d_model, c.n_heads, c.head_width), name="q")(x_BTD)
        k_BSKN = Linear(c, (c.d_model, c.n_kv_heads, c.head_width), name="k")(x_BTD)
        v_BSKN = Linear(c, (c.d_model, c.n_kv_heads, c.head_width), name="v")(x_BTD)
        q_BTHN, k_BSKN = (rotate(a, context.places.positions_BT, c.rope_theta) for a in (q_BTHN, k_BSKN))
        keys = context.places
        if cached is not None:
            assert context.slots is not None
            k_BSKN, v_BSKN = (
                kv.write(old, new, context.start) for old, new in zip(cached, (k_BSKN, v_BSKN), strict=True)
            )
            cached, keys = (k_BSKN, v_BSKN), context.slots
        q_BTHN = constrain(q_BTHN, ("batch", "time", "heads", "head_width"))
        o_BTHN = attend(q_BTHN, k_BSKN, v_BSKN, context.places, keys, aligned=cached is None)
        return Linear(c, (c.n_heads, c.head_width, c.d_model), name="o")(o_BTHN), cached


class MLP(nn.Module):
    """SwiGLU (Shazeer, 2020): down(silu(gate(x)) * up(x))."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Maps `[B, T, D]` to itself through `[B, T, F]`."""
        c = self.cfg
        gate_BTF = Linear(c, (c.d_model, c.d_ff), name="gate")(x_BTD)
        up_BTF = Linear(c, (c.d_model, c.d_ff), name="up")(x_BTD)
        hidden_BTF = constrain(nn.silu(gate_BTF) * up_BTF, ("batch", "time", "mlp"))
        return Linear(c, (c.d_ff, c.d_model), name="down")(hidden_BTF)


def dropout(x_BTD: jax.Array, rate: float, context: Context, site: int) -> jax.Array:
    """Zeroes a share `rate` of the entries and scales the rest up, by a key for each (row, layer, site)."""
    if rate == 0.0 or context.dropout_keys_B is None:
        return x_BTD

    def keep(key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(key, context.layer), site)
        return jax.random.bernoulli(key, 1.0 - rate, x_BTD.shape[1:])

    return jnp.where(jax.vmap(keep)(context.dropout_keys_B), x_BTD / (1.0 - rate), 0.0).astype(x_BTD.dtype)


class Block(nn.Module):
    """The pre-norm transformer block: x + mixer(norm(x)), then x + mlp(norm(x))."""

    cfg: ModelConfig

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, context: Context, cached: tuple[jax.Array, jax.Array] | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array] | None]:
        """Returns the block's `[B, T, D]` and its updated cache (None without one)."""
        c = self.cfg
        mixed_BTD, cached = Attention(c, name="mixer")(RMSNorm(c, name="mixer_norm")(x_BTD), context, cached)
        x_BTD = x_BTD + dropout(mixed_BTD, c.dropout, context, site=0)
        mlp_BTD = MLP(c, name="mlp")(RMSNorm(c, name="mlp_norm")(x_BTD))
        x_BTD = x_BTD + dropout(mlp_BTD, c.dropout, context, site=1)
        return constrain(x_BTD, ("batch", "time", "embed_activation")), cached
