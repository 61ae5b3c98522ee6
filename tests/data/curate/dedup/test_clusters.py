"""Clusters and survivors against a slow union-find, and planted near duplicates found."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lm.data.curate.dedup import MinHash, deduplicate, exact_keys, hash_words
from lm.data.curate.dedup.clusters import survivors
from lm.data.curate.dedup.hashing import NO_KEY


def corpus(seed: int, documents: int, columns: int, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns keys with many in common, some none at all, and qualities with ties and some not a number."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, kinds, (documents, columns)).astype(np.uint64)
    keys[rng.random(documents) < 0.1] = NO_KEY
    return keys, rng.choice([0.1, 0.5, 0.9, np.nan], documents)


def slow_labels(keys: np.ndarray, quality: np.ndarray) -> list[int]:
    """Joins pair by pair, then ranks each cluster in Python."""
    cluster = list(range(len(keys)))
    for a in range(len(keys)):
        for b in range(a):
            if any(x == y != NO_KEY for x, y in zip(keys[a].tolist(), keys[b].tolist(), strict=True)):
                old, new = cluster[a], cluster[b]
                cluster = [new if value == old else value for value in cluster]
    worth = [-np.inf if np.isnan(value) else value for value in quality.tolist()]
    members = [[other for other in range(len(keys)) if cluster[other] == cluster[n]] for n in range(len(keys))]
    return [min(group, key=lambda n: (-worth[n], n)) for group in members]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("columns", "kinds"), [(1, 10), (1, 60), (3, 300), (20, 900)])
def test_labels_are_those_of_a_slow_union_find(seed, columns, kinds):
    keys, quality = corpus(seed, 80, columns, kinds)
    (labels,) = deduplicate([keys], [quality])
    assert labels.tolist() == slow_labels(keys, quality)


@pytest.mark.parametrize("cuts", [[], [0, 0, 13], [40, 40], [1, 80]])
def test_units_change_nothing(cuts):
    keys, quality = corpus(0, 80, 3, 200)
    units = deduplicate(np.split(keys, cuts), np.split(quality, cuts))
    assert [len(unit) for unit in units] == [len(part) for part in np.split(quality, cuts)]
    assert np.concatenate(units).tolist() == slow_labels(keys, quality)


def test_who_survives_does_not_depend_on_arrival():
    keys, _ = corpus(0, 80, 3, 200)
    rng = np.random.default_rng(0)
    quality = rng.permutation(80) / 80
    labels = deduplicate([keys], [quality])[0]
    order = rng.permutation(80)
    assert (order[deduplicate([keys[order]], [quality[order]])[0]] == labels[order]).all()


def test_a_chain_is_one_cluster_and_ties_go_to_the_first():
    keys = np.array([[1, 9], [1, 2], [3, 2], [3, 4], [5, 4], [6, 8]], np.uint64)
    assert deduplicate([keys], [np.zeros(6)])[0].tolist() == [0, 0, 0, 0, 0, 5]
    assert deduplicate([keys], [np.array([0, np.nan, 0.5, 0.5, 0, 0])])[0].tolist() == [2, 2, 2, 2, 2, 5]


def test_nothing_gives_nothing():
    assert deduplicate([], []) == []
    (labels,) = deduplicate([np.zeros((0, 3), np.uint64)], [np.zeros(0)])
    assert labels.shape == (0,)
    assert survivors(np.zeros(0, np.int32), np.zeros(0)).shape == (0,)


def jaccard(first: list[str], second: list[str], ngram: int = 5) -> float:
    a, b = ({tuple(text[n : n + ngram]) for n in range(len(text) - ngram + 1)} for text in (first, second))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (93, 15), (450, 20)])
def test_planted_near_duplicates_are_found_and_nothing_else_goes(bands, rows):
    rng = random.Random(0)
    vocabulary = [f"word{n}" for n in range(3000)]
    texts = [rng.choices(vocabulary, k=rng.randint(150, 400)) for _ in range(200)]
    similar = []
    for original in range(200):
        for _ in range(rng.randint(0, 3)):
            copy = list(texts[original])
            for place in rng.sample(range(len(copy)), rng.randint(0, len(copy) // 60)):
                copy[place] = rng.choice(vocabulary)
            similar.append((original, len(texts), jaccard(texts[original], copy)))
            texts.append(copy)
    words = hash_words(map(" ".join, texts))
    (labels,) = deduplicate([MinHash(bands, rows).band_keys(words)], [np.zeros(len(texts))])
    planted = [(original, copy) for original, copy, likeness in similar if likeness >= 0.85]
    family = list(range(200)) + [original for original, _, _ in similar]
    removed = [number for number, label in enumerate(labels.tolist()) if label != number]
    assert len(planted) > 100
    assert np.mean([labels[original] == labels[copy] for original, copy in planted]) >= 0.98
    assert np.mean([family[number] == family[labels[number]] for number in removed]) >= 0.99
    (same,) = deduplicate([exact_keys(words)[:, None]], [np.zeros(len(texts))])
    assert {n for n, label in enumerate(same) if label != n} == {copy for _, copy, likeness in similar if likeness == 1}
