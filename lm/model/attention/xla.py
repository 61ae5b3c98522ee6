"""Attention in plain JAX: every feature, any hardware, scores and softmax in float32.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, G = H/K group, N head width, M value width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lm.model.attention.places import Places, Scores
from lm.model.attention.scoring import score

# Queries of one block see keys up to the block's end only, so half the masked work of a long row is never done.
QUERY_BLOCK = 128


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
    score_BKGTS = score(q_BTHN, k_BSKN, queries, keys, scores)
    weight_BKGTS = _softmax(score_BKGTS, scores.sinks_H).astype(v_BSKM.dtype)
    mixed_BTKGM = jnp.einsum("bkgts,bskm->btkgm", weight_BKGTS, v_BSKM)
    return mixed_BTKGM.reshape(*q_BTHN.shape[:3], v_BSKM.shape[-1])


def _softmax(score_BKGTS: jax.Array, sinks_H: jax.Array | None) -> jax.Array:
    if sinks_H is None:
        return jax.nn.softmax(score_BKGTS, axis=-1)
    b, k, g, t, _ = score_BKGTS.shape
    sink_BKGT1 = jnp.broadcast_to(sinks_H.astype(jnp.float32).reshape(1, k, g, 1, 1), (b, k, g, t, 1))
    return jax.nn.softmax(jnp.concatenate([score_BKGTS, sink_BKGT1], axis=-1), axis=-1)[..., :-1]
