"""What flows through the layers beside their parameters.

Dims: B batch, T time, S cache slots, P residual streams, D width, K key/value heads, N head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lm.model.attention import Places

# What a mixer keeps of earlier tokens, by name, each `[B, ...]`; for a stack of layers, each `[layers, B, ...]`.
MixerCache = dict[str, jax.Array]


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


class Stream(NamedTuple):
    """What one layer hands to the next: the residual stream, and the first layer's values where they are reused.

    `x` is `[B, T, D]`, or of several streams `[B, T, P, D]`.
    """

    x: jax.Array
    first_v_BTKN: jax.Array | None = None


# What a layer reports beside its output, by name: losses of its own and counts; empty for most.
Aux = dict[str, Any]


def dropout(x_BTD: jax.Array, rate: float, context: Context, site: int) -> jax.Array:
    """Zeroes a share `rate` of the entries and scales the rest up, by a key for each (row, layer, site)."""
    if rate == 0.0 or context.dropout_keys_B is None:
        return x_BTD

    def keep(key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(key, context.layer), site)
        return jax.random.bernoulli(key, 1.0 - rate, x_BTD.shape[1:])

    return jnp.where(jax.vmap(keep)(context.dropout_keys_B), x_BTD / (1.0 - rate), 0.0).astype(x_BTD.dtype)
