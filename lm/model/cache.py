"""The key/value cache of incremental decoding.

Dims: B batch, S cache slots, L layers, K key/value heads, N head width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig


class Cache(NamedTuple):
    """Keys and values of the tokens seen so far, stacked over layers, and where those tokens stand.

    `segments_BS` is 0 in slots not yet written, so nothing attends to them; `length` is the next free slot.
    """

    k_LBSKN: jax.Array
    v_LBSKN: jax.Array
    segments_BS: jax.Array
    positions_BS: jax.Array
    length: jax.Array


def empty(cfg: ModelConfig, batch: int, slots: int) -> Cache:
    """Returns a cache with `slots` free slots a row."""
    shape = (cfg.n_layers, batch, slots, cfg.n_kv_heads, cfg.head_width)
    zeros = jnp.zeros((batch, slots), jnp.int32)
    return Cache(jnp.zeros(shape, cfg.dtype), jnp.zeros(shape, cfg.dtype), zeros, zeros, jnp.zeros((), jnp.int32))


def write(slots: jax.Array, new: jax.Array, start: jax.Array | int) -> jax.Array:
    """Writes `new` `[B, T, ...]` into `slots` `[B, S, ...]` from slot `start` on."""
    return jax.lax.dynamic_update_slice_in_dim(slots, new.astype(slots.dtype), start, axis=1)
