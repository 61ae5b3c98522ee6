"""What attention is told beside queries, keys and values.

Dims: B batch, T time, H query heads.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


class Places(NamedTuple):
    """Where tokens stand: document within the row (0 is padding) and position within the document, both `[B, T]`."""

    segments_BT: jax.Array
    positions_BT: jax.Array


class Scores(NamedTuple):
    """How a query scores the keys of its document at or before its own position.

    Attributes:
        scale: factor on the product of query and key.
        window: how many positions back a query sees, its own included; 0 is all (Beltagy et al., 2020).
        softcap: c · tanh(score / c), which keeps scores within ±c; 0 is none (Gemma 2).
        slopes_H: what a key's distance lowers its score by, for each head (ALiBi; Press et al., 2022).
        sinks_H: a score for each head that takes part in the softmax and brings no value (Xiao et al., 2024; GPT-OSS).
    """

    scale: float
    window: int = 0
    softcap: float = 0.0
    slopes_H: jax.Array | None = None
    sinks_H: jax.Array | None = None
