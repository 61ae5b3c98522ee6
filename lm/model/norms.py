"""Normalisation by name: RMSNorm, LayerNorm, dynamic tanh, or none; one door, `Norm`.

Dims: B batch, T time, D width (or whatever dimensions are normalised).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig
from lm.model.roles import initialise


class Norm(nn.Module):
    """The norm that `cfg.norm` names (or `kind`, where given), over the last `axes` dimensions, in float32.

    `rms` is Zhang & Sennrich (2019), `layer` Ba et al. (2016), `tanh` the dynamic tanh of Zhu et al. (2025), which
    needs no statistics. Under `norm_scale=one_plus` the stored scale is what is added to 1 (Gemma).
    """

    cfg: ModelConfig
    kind: str = ""
    axes: int = 1
    epsilon: float = 0.0  # the config's if left out

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises `[..., D]`, in the compute dtype."""
        c, kind = self.cfg, self.kind or self.cfg.norm
        if kind == "none":
            return x
        y = _normalised(self, x.astype(jnp.float32), kind)
        if c.norm_scale != "none":
            scale = self._parameter("scale", x.shape[-self.axes :])
            y *= 1.0 + scale if c.norm_scale == "one_plus" else scale
        if c.norm_bias and kind != "rms":
            y += self._parameter("bias", x.shape[-self.axes :])
        return y.astype(c.dtype)

    def _parameter(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        return self.param(name, lambda key: initialise(f"norm.{name}", shape, self.cfg, key))


def _normalised(norm: Norm, x: jax.Array, kind: str) -> jax.Array:
    axes = tuple(range(-norm.axes, 0))
    if kind == "tanh":
        return jnp.tanh(norm._parameter("alpha", ()) * x)
    if kind == "layer":
        x -= jnp.mean(x, axis=axes, keepdims=True)
    epsilon = norm.epsilon or norm.cfg.norm_epsilon
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True) + epsilon)
