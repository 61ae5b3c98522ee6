"""The order of training data, as pure functions: a stateless shuffle and a deterministic weighted interleave.

Both answer for any index at once, without replaying what came before, so that a run resumes at an example
count alone. Everything is integer arithmetic on hashes: the same on every machine, whatever the batch size.

Dims: B indices, S sources.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

_ROUNDS = 4
_ODD = np.uint64(0xD1342543DE82EF95)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Shares are held as multiples of 2**-30; with at most 2**33 indices their products fit in 64 bits.
_SHARE_BITS = 30
MAX_INDEX = 1 << 33


def key_of(*parts: object) -> int:
    """Returns a 63-bit key that identifies `parts`; unlike `hash`, the same in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def mix(value_B: np.ndarray) -> np.ndarray:
    """Returns well-mixed uint64 of uint64: the finaliser of SplitMix64 (Steele et al., 2014)."""
    z_B = value_B + _GOLDEN
    z_B = (z_B ^ (z_B >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z_B = (z_B ^ (z_B >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z_B ^ (z_B >> np.uint64(31))


def permute(index_B: np.ndarray, size: int, key_B: np.ndarray) -> np.ndarray:
    """Maps int64 indices in [0, size) to their images under the permutation that each uint64 key chooses.

    A Feistel network on the cells of a grid that just holds `size`, walked until the image is in range (Black and
    Rogaway, 2002): a bijection for every key, in O(1) memory and hardly ever more than one step.
    """
    image_B = _feistel(index_B.astype(np.uint64), size, key_B)
    while (outside := np.flatnonzero(image_B >= np.uint64(size))).size:
        image_B[outside] = _feistel(image_B[outside], size, key_B[outside])
    return image_B.astype(np.int64)


def _feistel(cell_B: np.ndarray, size: int, key_B: np.ndarray) -> np.ndarray:
    rows = math.isqrt(size - 1) + 1
    height, width = np.uint64(rows), np.uint64(-(-size // rows))
    row_B, column_B = np.divmod(cell_B, width)
    for _ in range(_ROUNDS):
        row_B = (row_B + mix(column_B ^ key_B)) % height
        key_B = key_B * _ODD + _GOLDEN  # a key of its own for each half round
        column_B = (column_B + mix(row_B ^ key_B)) % width
        key_B = key_B * _ODD + _GOLDEN
    return row_B * width + column_B


def interleave(index_B: np.ndarray, weights_S: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each int64 index its source and how many earlier indices drew from that source (both int64 [B]).

    Sources are peeled off one by one: each takes its share of what is left in an even (Beatty) sequence. Any
    prefix of n indices holds n times a source's weight to within S / 2, so every batch has the mixture.
    """
    assert index_B.size == 0 or index_B.max() < MAX_INDEX
    source_B, draw_B = np.zeros_like(index_B), np.zeros_like(index_B)
    rows, left_B = np.arange(index_B.size), index_B
    for source, share in enumerate(_shares(weights_S)):
        before_B = _taken(left_B, share)
        mine_B = _taken(left_B + 1, share) > before_B
        source_B[rows[mine_B]], draw_B[rows[mine_B]] = source, before_B[mine_B]
        rows, left_B = rows[~mine_B], (left_B - before_B)[~mine_B]
    assert rows.size == 0
    return source_B, draw_B


def drawn(count: int, weights_S: Sequence[float]) -> np.ndarray:
    """Returns how often each source is drawn among the first `count` indices, int64 [S]."""
    assert count < MAX_INDEX
    drawn_S, left_1 = np.zeros(len(weights_S), np.int64), np.array([count])
    for source, share in enumerate(_shares(weights_S)):
        (drawn_S[source],) = _taken(left_1, share)
        left_1 -= drawn_S[source]
    return drawn_S


def _shares(weights_S: Sequence[float]) -> list[int]:
    """Returns each source's share of what the sources before it leave; the last positive one takes all the rest."""
    shares = []
    for source, weight in enumerate(weights_S):
        rest = sum(weights_S[source:])
        shares.append(round(weight / rest * (1 << _SHARE_BITS)) if rest > 0 else 0)
    return shares


def _taken(count_B: np.ndarray, share: int) -> np.ndarray:
    return (count_B * np.int64(share) + np.int64(1 << (_SHARE_BITS - 1))) >> np.int64(_SHARE_BITS)
