"""A short causal convolution of each channel with itself, within documents.

Dims: B batch, T time, C channels, W taps, S = W - 1 + T.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.mixers.recurrent import beside, real
from lm.model.roles import initialise


class CausalConv(nn.Module):
    """Sums a channel's last W numbers by learned weights, and a bias."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTC: jax.Array, places: Places, seen: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        """Returns `[B, T, C]`, and the row's last W - 1 inputs if those before this call, `seen`, are given.

        Padding in between is skipped where there is `seen`; without, it must not part a document's tokens.
        """
        c, (b, t, channels) = self.cfg, x_BTC.shape
        before = c.recurrent.conv_width - 1
        kernel_WC = self._parameter("kernel", (before + 1, channels))
        bias_C = self._parameter("bias", (channels,))
        early_BWC = jnp.zeros((b, before, channels), x_BTC.dtype) if seen is None else seen
        x_BSC = jnp.concatenate([early_BWC, x_BTC], axis=1)
        positions_BT = places.positions_BT
        if seen is not None:
            # Padding goes to the front, so that tokens stand beside those they follow.
            is_token_BS = jnp.concatenate([jnp.ones((b, before), bool), real(places)], axis=1)
            order_BS = jnp.argsort(is_token_BS, axis=1, stable=True)
            x_BSC = jnp.take_along_axis(x_BSC, order_BS[..., None], axis=1)
            positions_BS = jnp.pad(positions_BT, ((0, 0), (before, 0)))
            positions_BT = jnp.take_along_axis(positions_BS, order_BS, axis=1)[:, before:]
            seen = x_BSC[:, t:]
        y_BTC = jnp.broadcast_to(bias_C, x_BTC.shape)
        for back in range(before + 1):
            tap_BTC = x_BSC[:, before - back : before - back + t] * kernel_WC[before - back]
            y_BTC += jnp.where(beside(positions_BT >= back, tap_BTC), tap_BTC, 0)
        if seen is not None:
            place_BT = jnp.argsort(order_BS, axis=1)[:, before:] - before
            y_BTC = jnp.take_along_axis(y_BTC, jnp.maximum(place_BT, 0)[..., None], axis=1)
        return y_BTC, seen

    def _parameter(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        value = self.param(name, lambda key: initialise(f"conv.{name}", shape, self.cfg, key))
        return value.astype(self.cfg.dtype)

    @staticmethod
    def empty(cfg: ModelConfig, batch: int, channels: int) -> jax.Array:
        """Returns zeros for a row's last W - 1 inputs."""
        return jnp.zeros((batch, cfg.recurrent.conv_width - 1, channels), cfg.dtype)
