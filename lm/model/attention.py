"""Causal attention within documents: the one door to every backend.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, G = H/K group, N head width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Queries of one block see keys up to the block's end only, so half the masked work of a long row is never done.
QUERY_BLOCK = 128
_MASKED = -1e30  # finite: a row with nothing to see (padding) stays finite too


class Places(NamedTuple):
    """Where tokens stand: document within the row (0 is padding) and position within the document, both `[B, T]`."""

    segments_BT: jax.Array
    positions_BT: jax.Array


def attend(
    q_BTHN: jax.Array, k_BSKN: jax.Array, v_BSKN: jax.Array, queries: Places, keys: Places, *, aligned: bool
) -> jax.Array:
    """Attends from each query to the keys of its own document at or before its own position.

    `aligned` says that query t and key t are the same token (no cache), which lets blocks of queries skip the keys
    after them. Scores and softmax are in float32; returns `[B, T, H, N]` in the dtype of `q_BTHN`.
    """
    t = q_BTHN.shape[1]
    if not aligned or t <= QUERY_BLOCK:
        return _attend_block(q_BTHN, k_BSKN, v_BSKN, queries, keys)
    blocks = []
    for start in range(0, t, QUERY_BLOCK):
        rows, seen = slice(start, min(start + QUERY_BLOCK, t)), slice(0, min(start + QUERY_BLOCK, t))
        places = Places(queries.segments_BT[:, rows], queries.positions_BT[:, rows])
        earlier = Places(keys.segments_BT[:, seen], keys.positions_BT[:, seen])
        blocks.append(_attend_block(q_BTHN[:, rows], k_BSKN[:, seen], v_BSKN[:, seen], places, earlier))
    return jnp.concatenate(blocks, axis=1)


def _attend_block(q_BTHN: jax.Array, k_BSKN: jax.Array, v_BSKN: jax.Array, queries: Places, keys: Places) -> jax.Array:
    b, t, h, n = q_BTHN.shape
    k_heads = k_BSKN.shape[2]
    q_BTKGN = (q_BTHN / math.sqrt(n)).reshape(b, t, k_heads, h // k_heads, n)
    score_BKGTS = jnp.einsum("btkgn,bskn->bkgts", q_BTKGN, k_BSKN, preferred_element_type=jnp.float32)
    same_BTS = queries.segments_BT[:, :, None] == keys.segments_BT[:, None, :]
    past_BTS = queries.positions_BT[:, :, None] >= keys.positions_BT[:, None, :]
    score_BKGTS = jnp.where((same_BTS & past_BTS)[:, None, None], score_BKGTS, _MASKED)
    weight_BKGTS = jax.nn.softmax(score_BKGTS, axis=-1).astype(v_BSKN.dtype)
    return jnp.einsum("bkgts,bskn->btkgn", weight_BKGTS, v_BSKN).reshape(b, t, h, n)
