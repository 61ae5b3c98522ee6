"""cuDNN's fused attention on NVIDIA GPUs, through `jax.nn.dot_product_attention`.

Dims: B batch, T time, S key time, H query heads, K key/value heads, N head width.
"""

from __future__ import annotations

import jax

from lm.model.attention.places import Places, Scores
from lm.model.attention.scoring import seen


def attend(
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKN: jax.Array,
    queries: Places,
    keys: Places,
    scores: Scores,
    *,
    aligned: bool,
) -> jax.Array:
    """Computes `attention.attend` on a GPU, documents kept apart by an explicit mask."""
    assert aligned
    return jax.nn.dot_product_attention(
        q_BTHN,
        k_BSKN,
        v_BSKN,
        mask=seen(queries, keys, scores.window)[:, None],
        scale=scores.scale,
        implementation="cudnn",
    )
