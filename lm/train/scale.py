"""Dynamic loss scaling, without which small gradients are zero in float16 (Micikevicius et al., 2018)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

FIRST, GROW_AFTER, FACTOR, MOST = 2.0**15, 1000, 2.0, 2.0**24


class LossScale(NamedTuple):
    """What the loss is multiplied by, float32, and for how many steps that was not too much, int32."""

    value: jax.Array
    steps: jax.Array


def init() -> LossScale:
    """Returns the scale to begin with."""
    return LossScale(jnp.float32(FIRST), jnp.int32(0))


def adjust(scale: LossScale, finite: jax.Array) -> LossScale:
    """Returns the next step's: half after gradients that were not finite, double after many that were."""
    grows = scale.steps + 1 >= GROW_AFTER
    up = jnp.where(grows, jnp.minimum(scale.value * FACTOR, MOST), scale.value)
    value = jnp.where(finite, up, jnp.maximum(scale.value / FACTOR, 1.0))
    return LossScale(value, jnp.where(finite & ~grows, scale.steps + 1, 0))
