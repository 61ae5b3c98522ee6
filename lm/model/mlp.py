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


class Kind(NamedTuple):
    """An activation, and whether it gates a second projection (Shazeer, 2020) or stands alone."""

    activation: Callable[[jax.Array], jax.Array]
    gated: bool


gelu = partial(nn.gelu, approximate=False)  # by the error function (Hendrycks & Gimpel, 2016)
gelu_tanh = partial(nn.gelu, approximate=True)  # its approximation by tanh, in GPT-2 and Gemma


def relu2(x: jax.Array) -> jax.Array:
    """Squares what is positive (So et al., 2021)."""
    return jnp.square(nn.relu(x))


MLPS: dict[str, Kind] = {
    "swiglu": Kind(nn.silu, gated=True),
    "geglu": Kind(gelu, gated=True),
    "geglu_tanh": Kind(gelu_tanh, gated=True),
    "reglu": Kind(nn.relu, gated=True),
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

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Maps `[B, T, D]` to itself through `[B, T, F]`."""
        c, kind = self.cfg, MLPS[self.kind]
        into = (c.d_model, c.d_ff)
        if kind.gated:
            gate_BTF = Linear(c, into, c.mlp_bias, name="gate")(x_BTD)
            hidden_BTF = kind.activation(gate_BTF) * Linear(c, into, c.mlp_bias, name="up")(x_BTD)
        else:
            hidden_BTF = kind.activation(Linear(c, into, c.mlp_bias, name="up")(x_BTD))
        hidden_BTF = constrain(hidden_BTF, ("batch", "time", "mlp"))
        return Linear(c, into[::-1], c.mlp_bias, name="down")(hidden_BTF)
