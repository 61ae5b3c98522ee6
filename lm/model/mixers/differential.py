"""Differential attention (Ye et al., 2024): what one softmax map of a pair sees beyond the other.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, N head width. Heads 2i and 2i + 1 are a
pair, of queries as of keys; a pair's values are read as one, 2N wide.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lm.model.attention import Places, attend
from lm.model.attention.scoring import alibi_slopes
from lm.model.context import Context
from lm.model.mixers.attention import Attention
from lm.model.norms import Norm
from lm.model.roles import initialise


class Differential(Attention):
    """Attention whose paired heads are subtracted, map from map, so that what both of them see cancels."""

    def _attend(
        self,
        q_BTHN: jax.Array,
        k_BSKN: jax.Array,
        v_BSKN: jax.Array,
        keys: Places,
        context: Context,
        *,
        aligned: bool,
    ) -> jax.Array:
        """Returns what each pair reads, by the heads of its halves, `[B, T, H, N]`."""
        c, scores = self.cfg, self._scores()
        b, s, k, n = v_BSKN.shape
        pair_BSKM = v_BSKN.reshape(b, s, k // 2, 2 * n)

        def read(one: int) -> jax.Array:
            sinks_H = scores.sinks_H if scores.sinks_H is None else scores.sinks_H[one::2]
            q_BTHN_, k_BSKN_ = q_BTHN[:, :, one::2], k_BSKN[:, :, one::2]
            slopes_H = scores.slopes_H if scores.slopes_H is None else jnp.asarray(alibi_slopes(c.n_heads // 2))
            half = scores._replace(sinks_H=sinks_H, slopes_H=slopes_H)
            return attend(
                c.attention_backend, q_BTHN_, k_BSKN_, pair_BSKM, context.places, keys, half, aligned=aligned
            ).astype(jnp.float32)

        start = 0.8 - 0.6 * jnp.exp(-0.3 * jnp.asarray(context.layer, jnp.float32))
        difference_BTHM = read(0) - self._weight(start) * read(1)
        return ((1.0 - start) * Norm(c, "rms", name="pair_norm")(difference_BTHM)).astype(c.dtype).reshape(q_BTHN.shape)

    def _weight(self, start: jax.Array) -> jax.Array:
        """Returns the second map's weight, exp(q₀·k₀) − exp(q₁·k₁) + start, of four learned vectors."""
        q_2N, k_2N = (
            self.param(
                name, lambda key, name=name: initialise(f"mixer.{name}", (2, self.cfg.head_width), self.cfg, key)
            )
            for name in ("lambda_q", "lambda_k")
        )
        first, second = jnp.exp(jnp.sum(q_2N * k_2N, axis=-1))
        return first - second + start
