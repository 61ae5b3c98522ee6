"""Lines and paragraphs that stand in too many documents of the corpus: menus, notices, footers.

All copies of such a line go, the first too, so that what a document keeps depends on the corpus and never on an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from lm.data.curate.dedup.hashing import NO_KEY, Words, exact_keys, hash_words
from lm.data.curate.document import Document

COUNTS = np.dtype([("key", "<u8"), ("documents", "<u4")])
_BETWEEN = {"line": "\n", "paragraph": "\n\n"}
_BATCH_DOCUMENTS = 1000
_MERGED_AT_ONCE = 1 << 24  # counts held at a time while units are merged: 200 MB


@dataclass(frozen=True)
class Lines:
    """How documents are cut: by `line` or `paragraph`; one of fewer than `min_words` words never counts as common."""

    by: Literal["line", "paragraph"]
    min_words: int = 3

    @property
    def between(self) -> str:
        """What stands between two of them."""
        return _BETWEEN[self.by]

    def keys(self, texts: Iterable[str]) -> Words:
        """Returns the exact key of every line of every text, `NO_KEY` for a short one, laid out like words."""
        cut = [text.split(self.between) for text in texts]
        words = hash_words(line for lines in cut for line in lines)
        keys = np.where(words.counts >= self.min_words, exact_keys(words), np.uint64(NO_KEY))
        return Words(keys, np.cumsum([0, *map(len, cut)], dtype=np.int64))

    def count(self, texts: Iterable[str]) -> np.ndarray:
        """Returns in how many of `texts` each line stands, sorted by key [distinct lines] of `COUNTS`."""
        remaining = iter(texts)
        found = [np.zeros(0, np.uint64)]
        while batch := list(islice(remaining, _BATCH_DOCUMENTS)):
            found.append(_once_a_document(self.keys(batch)))
        keys, documents = np.unique(np.concatenate(found), return_counts=True)
        counts = np.empty(len(keys), COUNTS)
        counts["key"], counts["documents"] = keys, documents
        return counts


@dataclass(frozen=True)
class DropCommon:
    """Takes out the lines that stand in a table of common ones, a file of sorted keys [lines] uint64."""

    lines: Lines
    table: str

    @property
    def name(self) -> str:
        """`line_dedup` or `paragraph_dedup`."""
        return f"{self.lines.by}_dedup"

    def __call__(self, document: Document) -> Document:
        """Returns the document without them; how many went stands in `meta` as common_lines or common_paragraphs."""
        common = _among(self.lines.keys([document.text]).hashes, _table(self.table))
        if not common.any():
            return document
        cut = document.text.split(self.lines.between)
        kept = [line for line, gone in zip(cut, common, strict=True) if not gone]
        return document.changed(self.lines.between.join(kept), **{f"common_{self.lines.by}s": int(common.sum())})


def common_lines(counts: Sequence[np.ndarray], max_documents: int) -> np.ndarray:
    """Returns the sorted keys [lines] uint64 of lines that stand in more than `max_documents` documents of all units.

    `counts` is one array of `Lines.count` per unit, which may be memory-mapped: units are merged a range of keys at a
    time, so that about `_MERGED_AT_ONCE` counts are held however many there are.
    """
    ranges = 1 + sum(map(len, counts)) // _MERGED_AT_ONCE
    edges = [NO_KEY * part // ranges for part in range(ranges + 1)]
    common = [np.zeros(0, np.uint64)]
    for low, high in pairwise(edges):
        parts = [unit[slice(*np.searchsorted(unit["key"], np.array([low, high], np.uint64)))] for unit in counts]
        merged = np.concatenate([*parts, np.zeros(0, COUNTS)])
        keys, places = np.unique(merged["key"], return_inverse=True)
        documents = np.bincount(places, weights=merged["documents"], minlength=len(keys))  # exact below 2**53
        common.append(keys[documents > max_documents])
    return np.concatenate(common)


def _once_a_document(keys: Words) -> np.ndarray:
    """Returns the keys without `NO_KEY` and without repeats within a document."""
    owners = np.repeat(np.arange(len(keys.counts)), keys.counts)
    order = np.lexsort((keys.hashes, owners))
    hashes, owners = keys.hashes[order], owners[order]
    new = np.ones(len(order), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[new & (hashes != np.uint64(NO_KEY))]


def _among(keys: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns which keys stand in the sorted table [keys] bool, by bisection: a memory-mapped table is hardly read."""
    if not table.size:
        return np.zeros(len(keys), bool)
    return table[np.minimum(np.searchsorted(table, keys), table.size - 1)] == keys


@cache
def _table(path: str) -> np.ndarray:
    return np.load(Path(path), mmap_mode="r")
