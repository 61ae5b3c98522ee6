"""What incremental decoding keeps of the tokens seen so far.

Dims: B batch, S cache slots.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.context import MixerCache
from lm.model.mixers import MIXERS


class Cache(NamedTuple):
    """Each stack's mixer caches (keys and values, or a state), stacked over its layers, and where their tokens stand.

    `segments_BS` is 0 in slots not yet written, so nothing attends to them; `length` is the next free slot.
    """

    layers: dict[str, MixerCache]
    segments_BS: jax.Array
    positions_BS: jax.Array
    length: jax.Array


def empty(cfg: ModelConfig, batch: int, slots: int) -> Cache:
    """Returns a cache with `slots` free slots a row."""
    layers = {}
    for stack in cfg.stacks:
        one = MIXERS[stack.layer.mixer].empty(cfg, batch, slots)
        layers[stack.name] = jax.tree.map(lambda a, n=stack.count: jnp.tile(a, (n, *(1,) * a.ndim)), one)
    zeros = jnp.zeros((batch, slots), jnp.int32)
    return Cache(layers, zeros, zeros, jnp.zeros((), jnp.int32))


def place(cache: Cache, tokens: Places) -> tuple[Cache, Places]:
    """Gives this call's tokens the next slots; returns the cache that counts them, and where all its tokens stand."""

    def write(slots_BS: jax.Array, new_BT: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(slots_BS, new_BT.astype(slots_BS.dtype), cache.length, axis=1)

    slots = Places(write(cache.segments_BS, tokens.segments_BT), write(cache.positions_BS, tokens.positions_BT))
    length = cache.length + tokens.segments_BT.shape[1]
    return cache._replace(segments_BS=slots.segments_BT, positions_BS=slots.positions_BT, length=length), slots
