"""Who is whose duplicate, and which of them stays: on one machine, in memory.

Each column of keys is sorted on its own and neighbours that agree are linked; nothing loops over documents. With keys
memory-mapped, about 100 bytes a document are held at most: one column and its order, links not yet merged, and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lm.data.curate.dedup.hashing import NO_KEY


def deduplicate(keys: Sequence[np.ndarray], quality: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns for every document the document that stands for it: itself, or the best one of its duplicates.

    Shapes, one array per unit: keys [n, columns] uint64 (may be memory-mapped), quality [n] float; returned [n] int64.
    Documents are numbered through all units in order. A document stays where its label is its own number.
    """
    sizes = [len(unit) for unit in quality]
    columns = keys[0].shape[1] if keys else 0
    edges = (link(np.concatenate([unit[:, column] for unit in keys])) for column in range(columns))
    return split(survivors(components(edges, sum(sizes)), np.concatenate([*quality, np.zeros(0)])), sizes)


def link(column: np.ndarray) -> np.ndarray:
    """Returns pairs [links, 2] of documents that chain together all that share a key of `column` [documents]."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    same = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != np.uint64(NO_KEY)))
    return np.stack([order[same], order[same + 1]], axis=1)


def components(edges: Iterable[np.ndarray], documents: int) -> np.ndarray:
    """Returns the cluster of each document [documents] int32, numbered in no particular way.

    Arrays of edges [links, 2] are merged as soon as there are as many links as documents, and then let go.
    """
    clusters = np.arange(documents, dtype=np.int32 if documents < 1 << 31 else np.int64)
    waiting: list[np.ndarray] = []
    for pairs in edges:
        waiting.append(pairs)
        if sum(map(len, waiting)) > documents:
            clusters = _merged(clusters, waiting)
            waiting = []
    return _merged(clusters, waiting)


def _merged(clusters: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = clusters[np.concatenate([*edges, np.zeros((0, 2), np.int64)])]
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(clusters), len(clusters)))
    return connected_components(graph, directed=False)[1][clusters]


def survivors(clusters: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Returns the number of the survivor of each document's cluster [documents] int64.

    The survivor is the document of the best quality and, among equals, the first; a quality that is not a number is
    the worst. Order of arrival plays no part: numbers follow ids.
    """
    worth = np.where(np.isnan(quality), -np.inf, quality)
    order = np.lexsort((-worth, clusters))  # stable: among equals the lowest number first
    heads = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    labels = np.empty(len(order), np.int64)
    labels[order] = np.repeat(order[heads], np.diff(heads, append=len(order)))
    return labels


def split(labels: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cuts one array over all documents into one per unit."""
    return np.split(labels, np.cumsum(sizes)[:-1]) if len(sizes) else []
