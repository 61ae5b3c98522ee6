"""Deduplication: exact, by line or paragraph, and near by MinHash; the same survivors however the work is spread.

Every document becomes a few 61-bit keys (one exact, one per MinHash band); documents that share a key in a column are
linked, linked documents are one cluster, and of each cluster the best document stays.
"""

from lm.data.curate.dedup.clusters import deduplicate
from lm.data.curate.dedup.hashing import NO_KEY, Words, exact_keys, hash_words, scoped
from lm.data.curate.dedup.lines import DropCommon, Lines, common_lines
from lm.data.curate.dedup.signature import PRESETS, MinHash

__all__ = [
    "NO_KEY",
    "PRESETS",
    "DropCommon",
    "Lines",
    "MinHash",
    "Words",
    "common_lines",
    "deduplicate",
    "exact_keys",
    "hash_words",
    "scoped",
]
