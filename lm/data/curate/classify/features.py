"""Texts as hashed words and pairs of words: what the linear classifiers see.

Words are those deduplication hashes, whatever their case and punctuation; each word and each pair of neighbours falls
into one of 2**`bits` slots ("hashing trick", Weinberger et al., 2009). A text is the set of its slots, with weights
that make its Euclidean length 1. Dims: N texts, F slots that there are, S slots of one text.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np

from lm.data.curate.dedup.hashing import Words, hash_words, mix

_PAIR = np.uint64(0x9E3779B97F4A7C15)


def slots(words: np.ndarray, bits: int) -> np.ndarray:
    """Returns the distinct slots [S] int32, sorted, of hashed words [words] uint64."""
    found = np.empty(max(2 * len(words) - 1, 0), np.uint64)
    found[: len(words)] = words
    found[len(words) :] = mix(words[:-1] * _PAIR + words[1:])
    found = (found >> np.uint64(64 - bits)).astype(np.int32)
    found.sort()  # with the line below np.unique, at a third of its price for a short text
    return found[np.concatenate((found[:1] >= 0, found[1:] != found[:-1]))]


@functools.lru_cache(maxsize=2)
def slots_of(text: str, bits: int) -> np.ndarray:
    """Returns the slots [S] int32 of a text; they are kept for the next classifier that asks about the same one."""
    found = slots(hash_words([text]).hashes, bits)
    found.flags.writeable = False
    return found


def matrix(words: Words, bits: int) -> Any:
    """Returns texts as rows of a sparse matrix [N, F] float32, each of length 1."""
    from scipy.sparse import csr_array

    rows = [slots(words.hashes[low:high], bits) for low, high in pairwise(words.offsets.tolist())]
    sizes = np.array([len(row) for row in rows], np.int64)
    values = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    return csr_array((values, np.concatenate(rows), ends), shape=(len(rows), 1 << bits))
