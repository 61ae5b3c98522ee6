"""Feed-forward layers by name.

Dims: B batch, T time, D width, F FFN width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model.config import ModelConfig
from lm.model.linear import Linear

CLAMP, CLAMPED_SLOPE = 7.0, 1.702


class Kind(NamedTuple):
    """What the hidden units are: a function of two projections (gated; Shazeer, 2020), or of one alone."""

    units: Callable[..., jax.Array]
    gated: bool


def gating(activation: Callable[[jax.Array], jax.Array]) -> Kind:
    """Returns the kind whose first projection, through `activation`, gates the second."""
    return Kind(lambda gate, up: activation(gate) * up, gated=True)


gelu = partial(nn.gelu, approximate=False)  # by the error function (Hendrycks & Gimpel, 2016)
gelu_tanh = partial(nn.gelu, approximate=True)  # its approximation by tanh, in GPT-2 and Gemma


def relu2(x: jax.Array) -> jax.Array:
    """Squares what is positive (So et al., 2021)."""
    return jnp.square(nn.relu(x))


def clamped_swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """Bounds both projections and lets the gate be near the identity where `up` is 0 (GPT-OSS, 2025)."""
    gate, up = jnp.minimum(gate, CLAMP), jnp.clip(up, -CLAMP, CLAMP)
    return gate * nn.sigmoid(CLAMPED_SLOPE * gate) * (up + 1.0)


MLPS: dict[str, Kind] = {
    "swiglu": gating(nn.silu),
    "swiglu_clamped": Kind(clamped_swiglu, gated=True),
    "geglu": gating(gelu),
    "geglu_tanh": gating(gelu_tanh),
    "reglu": gating(nn.relu),
    "silu": Kind(nn.silu, gated=False),
    "gelu": Kind(gelu, gated=False),
    "gelu_tanh": Kind(gelu_tanh, gated=False),
    "relu": Kind(nn.relu, gated=False),
    "relu2": Kind(relu2, gated=False),
}


class MLP(nn.Module):
    """down(act(gate(x)) * up(x)) where gated, else down(act(up(x)))."""

    cfg: ModelConfig
    kind: str
    width: int = 0  # the model's if left out

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Maps `[B, T, D]` to itself through `[B, T, F]`."""
        c, kind = self.cfg, MLPS[self.kind]
        into = (c.d_model, self.width or c.d_ff)
        names = ("gate", "up") if kind.gated else ("up",)
        hidden_BTF = kind.units(*(Linear(c, into, c.mlp_bias, name=name)(x_BTD) for name in names))
        hidden_BTF = constrain(hidden_BTF, ("batch", "time", "mlp"))
        return Linear(c, into[::-1], c.mlp_bias, name="down")(hidden_BTF)
