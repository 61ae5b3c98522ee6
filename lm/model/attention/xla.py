"""Attention in plain JAX: every feature, any hardware, scores and softmax in float32.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, G = H/K group, N head width, M value width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lm.model.attention.places import Places, Scores

# Queries of one block see keys up to the block's end only, so half the masked work of a long row is never done.
QUERY_BLOCK = 128
_MASKED = -1e30  # finite: a row with nothing to see (padding) stays finite too


def attend(
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKM: jax.Array,
    queries: Places,
    keys: Places,
    scores: Scores,
    *,
    aligned: bool,
) -> jax.Array:
    """Computes `attention.attend`, one block of queries after another where queries and keys are the same tokens."""
    t = q_BTHN.shape[1]
    if not aligned or t <= QUERY_BLOCK:
        return _attend_block(q_BTHN, k_BSKN, v_BSKM, queries, keys, scores)
    blocks = []
    for start in range(0, t, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, t)
        # A document's tokens stand side by side, so what is further back than the window is out of sight.
        first = max(0, start - scores.window + 1) if scores.window else 0
        rows, seen = slice(start, stop), slice(first, stop)
        places = Places(queries.segments_BT[:, rows], queries.positions_BT[:, rows])
        earlier = Places(keys.segments_BT[:, seen], keys.positions_BT[:, seen])
        blocks.append(_attend_block(q_BTHN[:, rows], k_BSKN[:, seen], v_BSKM[:, seen], places, earlier, scores))
    return jnp.concatenate(blocks, axis=1)


def _attend_block(
    q_BTHN: jax.Array, k_BSKN: jax.Array, v_BSKM: jax.Array, queries: Places, keys: Places, scores: Scores
) -> jax.Array:
    b, t, h, n = q_BTHN.shape
    k_heads, m = v_BSKM.shape[2:]
    q_BTKGN = (q_BTHN * scores.scale).reshape(b, t, k_heads, h // k_heads, n)
    score_BKGTS = jnp.einsum("btkgn,bskn->bkgts", q_BTKGN, k_BSKN, preferred_element_type=jnp.float32)
    if scores.softcap:
        score_BKGTS = scores.softcap * jnp.tanh(score_BKGTS / scores.softcap)
    distance_BTS = queries.positions_BT[:, :, None] - keys.positions_BT[:, None, :]
    if scores.alibi:
        slope_KG11 = alibi_slopes(h).reshape(k_heads, h // k_heads, 1, 1)
        score_BKGTS -= slope_KG11 * distance_BTS[:, None, None].astype(jnp.float32)
    seen_BTS = (queries.segments_BT[:, :, None] == keys.segments_BT[:, None, :]) & (distance_BTS >= 0)
    if scores.window:
        seen_BTS &= distance_BTS < scores.window
    score_BKGTS = jnp.where(seen_BTS[:, None, None], score_BKGTS, _MASKED)
    weight_BKGTS = _softmax(score_BKGTS, scores.sinks_H).astype(v_BSKM.dtype)
    return jnp.einsum("bkgts,bskm->btkgm", weight_BKGTS, v_BSKM).reshape(b, t, h, m)


def _softmax(score_BKGTS: jax.Array, sinks_H: jax.Array | None) -> jax.Array:
    if sinks_H is None:
        return jax.nn.softmax(score_BKGTS, axis=-1)
    b, k, g, t, _ = score_BKGTS.shape
    sink_BKGT1 = jnp.broadcast_to(sinks_H.astype(jnp.float32).reshape(1, k, g, 1, 1), (b, k, g, t, 1))
    return jax.nn.softmax(jnp.concatenate([score_BKGTS, sink_BKGT1], axis=-1), axis=-1)[..., :-1]


def alibi_slopes(n_heads: int) -> np.ndarray:
    """Returns each head's slope, float32 `[H]`: 2^(-8i/H), and between those of powers of two for other numbers."""
    whole = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / whole) for i in range(whole)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / whole) for i in range(n_heads - whole)]
    return np.asarray(slopes, np.float32)
