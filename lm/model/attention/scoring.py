"""Scores of queries against keys, and which keys a query may see: shared by the backends in plain JAX.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, G = H/K group, N head width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lm.model.attention.places import Places, Scores

MASKED = -1e30  # finite: a row with nothing to see (padding) stays finite too


def score(q_BTHN: jax.Array, k_BSKN: jax.Array, queries: Places, keys: Places, scores: Scores) -> jax.Array:
    """Returns float32 scores `[B, K, G, T, S]`, those of keys out of sight at `MASKED`."""
    b, t, h, n = q_BTHN.shape
    k = k_BSKN.shape[2]
    q_BTKGN = (q_BTHN * scores.scale).reshape(b, t, k, h // k, n)
    score_BKGTS = jnp.einsum("btkgn,bskn->bkgts", q_BTKGN, k_BSKN, preferred_element_type=jnp.float32)
    if scores.softcap:
        score_BKGTS = scores.softcap * jnp.tanh(score_BKGTS / scores.softcap)
    distance_BTS = queries.positions_BT[:, :, None] - keys.positions_BT[:, None, :]
    if scores.slopes_H is not None:
        slope_KG11 = scores.slopes_H.reshape(k, h // k, 1, 1)
        score_BKGTS -= slope_KG11 * distance_BTS[:, None, None].astype(jnp.float32)
    return jnp.where(seen(queries, keys, scores.window)[:, None, None], score_BKGTS, MASKED)


def seen(queries: Places, keys: Places, window: int) -> jax.Array:
    """Says which keys each query may see, `[B, T, S]`: of its document, not after it, and within the window if any."""
    distance_BTS = queries.positions_BT[:, :, None] - keys.positions_BT[:, None, :]
    seen_BTS = (queries.segments_BT[:, :, None] == keys.segments_BT[:, None, :]) & (distance_BTS >= 0)
    return seen_BTS & (distance_BTS < window) if window else seen_BTS


def alibi_slopes(n_heads: int) -> np.ndarray:
    """Returns each head's slope, float32 `[H]`: 2^(-8i/H), and between those of powers of two for other numbers."""
    whole = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / whole) for i in range(whole)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / whole) for i in range(n_heads - whole)]
    return np.asarray(slopes, np.float32)
