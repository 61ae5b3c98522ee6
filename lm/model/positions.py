"""Positions that are added to the embedding: learned, or fixed waves.

Dims: B batch, T time, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def sinusoids(positions_BT: jax.Array, width: int) -> jax.Array:
    """Returns the waves of Vaswani et al. (2017), float32 `[B, T, D]`: sines in even places, cosines in odd ones."""
    frequency_R = (10_000.0 ** (-np.arange(0, width, 2) / width)).astype(np.float32)
    angle_BTR = positions_BT[..., None].astype(jnp.float32) * frequency_R
    waves_BTR2 = jnp.stack([jnp.sin(angle_BTR), jnp.cos(angle_BTR)], axis=-1)
    return waves_BTR2.reshape(*positions_BT.shape, -1)[..., :width]
