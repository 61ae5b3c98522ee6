"""Rotary position embedding (Su et al., 2021), in the half-split layout of Llama checkpoints.

Dims: B batch, T time, H heads, N head width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rotate(x_BTHN: jax.Array, positions_BT: jax.Array, theta: float) -> jax.Array:
    """Rotates each pair (i, i + N/2) of a head by position · theta^(-2i/N) radians; angles are in float32."""
    half = x_BTHN.shape[-1] // 2
    frequency_N = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle_BT1N = positions_BT[:, :, None, None].astype(jnp.float32) * frequency_N
    cos, sin = jnp.cos(angle_BT1N), jnp.sin(angle_BT1N)
    a, b = x_BTHN[..., :half].astype(jnp.float32), x_BTHN[..., half:].astype(jnp.float32)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTHN.dtype)
