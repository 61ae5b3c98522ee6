"""Rotary position embedding (Su et al., 2021), in the half-split layout of Llama checkpoints, and its stretchings.

Dims: B batch, T time, H heads, N head width, R pairs that are rotated.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from lm.model.config import Rope


def rotate(x_BTHN: jax.Array, positions_BT: jax.Array, frequency_R: np.ndarray, magnitude: float = 1.0) -> jax.Array:
    """Rotates each pair (i, i + R) of a head by position · frequency radians, and scales it by `magnitude`.

    What lies beyond the first 2R numbers of a head passes unchanged; angles are in float32.
    """
    r = len(frequency_R)
    angle_BT1R = positions_BT[:, :, None, None].astype(jnp.float32) * frequency_R
    cos, sin = magnitude * jnp.cos(angle_BT1R), magnitude * jnp.sin(angle_BT1R)
    a, b = x_BTHN[..., :r].astype(jnp.float32), x_BTHN[..., r : 2 * r].astype(jnp.float32)
    turned = [a * cos - b * sin, b * cos + a * sin]
    rest = [x_BTHN[..., 2 * r :]] if 2 * r < x_BTHN.shape[-1] else []
    return jnp.concatenate([part.astype(x_BTHN.dtype) for part in turned + rest], axis=-1)


def frequencies(rope: Rope, width: int, theta: float, factor: float) -> np.ndarray:
    """Returns the radians per position of each of `width / 2` pairs, float32 `[R]`, stretched by `factor`.

    `linear` divides all of them (Chen et al., 2023); `ntk` raises the base so that the slowest pair is divided and the
    fastest left alone (bloc97, 2023); `llama3` divides those whose wavelength exceeds the original context and blends
    (Grattafiori et al., 2024); `yarn` blends by rotations within the original context (Peng et al., 2023).
    """
    if rope.scaling == "ntk":
        theta *= factor ** (width / max(width - 2, 1))
    base_R = 1.0 / theta ** (np.arange(0, width, 2, dtype=np.float64) / width)
    if rope.scaling == "linear":
        base_R = base_R / factor
    if rope.scaling == "llama3":
        turns_R = rope.original_len * base_R / (2 * math.pi)
        low, high = rope.low_frequency_factor, rope.high_frequency_factor
        keep_R = np.clip((turns_R - low) / (high - low), 0.0, 1.0)
        base_R = keep_R * base_R + (1 - keep_R) * base_R / factor
    if rope.scaling == "yarn":
        low, high = (_pair_turning(turns, rope, width, theta) for turns in (rope.beta_fast, rope.beta_slow))
        if rope.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        ramp_R = np.clip((np.arange(width // 2) - low) / max(high - low, 1e-3), 0.0, 1.0)
        base_R = (1 - ramp_R) * base_R + ramp_R * base_R / factor
    return base_R.astype(np.float32)


def _pair_turning(turns: float, rope: Rope, width: int, theta: float) -> float:
    """Returns which pair makes so many full turns within the original context."""
    return width * math.log(rope.original_len / (turns * 2 * math.pi)) / (2 * math.log(theta))


def magnitude(rope: Rope, factor: float) -> float:
    """Returns what YaRN multiplies cosines and sines by, so that scores keep their spread; 1 elsewhere."""
    if rope.scaling != "yarn":
        return 1.0
    return rope.attention_factor or (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
