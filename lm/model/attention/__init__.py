"""Causal attention within documents: the one door to every backend.

Dims: B batch, T query time, S key time, H query heads, K key/value heads, N head width, M value width.
"""

from __future__ import annotations

from functools import partial

import jax

from lm.model.attention import cudnn, ring, xla
from lm.model.attention.places import Places, Scores

__all__ = ["Places", "Scores", "attend"]


def attend(
    backend: str,
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKM: jax.Array,
    queries: Places,
    keys: Places,
    scores: Scores,
    *,
    aligned: bool,
) -> jax.Array:
    """Attends from each query to the keys of its own document at or before its own position.

    `aligned` says that query t and key t are the same token; over a cache, where they are not, `xla` does it whatever
    the backend. Returns `[B, T, H, M]` in the dtype of `q_BTHN`.
    """
    compute = {"ring": ring.attend, "cudnn": cudnn.attend}.get(backend, xla.attend)
    if backend.startswith("splash"):
        from lm.model.attention import splash  # brings in Pallas, which takes a second to import

        compute = partial(splash.attend, interpret=backend == "splash_interpret")
    if not aligned:
        compute = xla.attend
    return compute(q_BTHN, k_BSKN, v_BSKM, queries, keys, scores, aligned=aligned)
