from __future__ import annotations

import numpy as np
import pytest

from lm.data.shards import order

PINNED = [2, 1, 4, 5, 6, 0, 8, 3, 7, 9]  # permute(0..9) under the key of (1, "wiki")
MIXTURES = [
    (1.0,),
    (0.5, 0.5),
    (3.0, 1.0),
    (0.2, 0.0, 0.3, 0.5),
    (0.0, 1.0),
    (1e-3, 1.0, 1.0),
    (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
]


@pytest.mark.parametrize("size", [*range(1, 20), 63, 64, 65, 1000, 4097])
def test_permute_is_a_bijection_for_every_key(size: int) -> None:
    for key in range(5):
        image = order.permute(np.arange(size), size, np.full(size, key, np.uint64))
        assert sorted(image) == list(range(size))


def test_permute_gives_each_index_its_own_key() -> None:
    index, key = np.arange(100), np.arange(100, dtype=np.uint64) % 3
    mixed = order.permute(index, 100, key)
    for k in range(3):
        alone = order.permute(index, 100, np.full(100, k, np.uint64))
        np.testing.assert_array_equal(mixed[key == k], alone[key == k])


def test_permute_sends_an_index_everywhere_equally_often() -> None:
    size, keys = 7, 14_000
    for index in range(size):
        image = order.permute(np.full(keys, index), size, np.arange(keys, dtype=np.uint64))
        counts = np.bincount(image, minlength=size)
        assert np.abs(counts - keys / size).max() < 5 * np.sqrt(keys / size)


def test_permute_breaks_up_neighbours() -> None:
    size = 10_000
    image = order.permute(np.arange(size), size, np.zeros(size, np.uint64))
    assert abs(np.corrcoef(np.arange(size), image)[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(image)) < 10) < 0.01


def test_permute_order_is_pinned() -> None:
    image = order.permute(np.arange(10), 10, np.full(10, order.key_of(1, "wiki"), np.uint64))
    assert image.tolist() == PINNED, (
        "the data order changed, so a run that is resumed sees other data than before: "
        "change these numbers only with a major version, and say so in CHANGELOG.md"
    )


@pytest.mark.parametrize("weights", MIXTURES)
def test_interleave_counts_every_source_from_zero(weights: tuple[float, ...]) -> None:
    source, draw = order.interleave(np.arange(3000), weights)
    for number in range(len(weights)):
        mine = draw[source == number]
        np.testing.assert_array_equal(mine, np.arange(len(mine)))


@pytest.mark.parametrize("weights", MIXTURES)
def test_every_prefix_holds_the_mixture(weights: tuple[float, ...]) -> None:
    source, _ = order.interleave(np.arange(3000), weights)
    taken = np.cumsum(source[:, None] == np.arange(len(weights)), axis=0)
    ideal = np.arange(1, 3001)[:, None] * np.array(weights) / sum(weights)
    assert np.abs(taken - ideal).max() <= max(1, len(weights) / 2)
    for count in (0, 1, 17, 1000, 3000):
        assert order.drawn(count, weights).tolist() == [int((source[:count] == s).sum()) for s in range(len(weights))]


@pytest.mark.parametrize("weights", MIXTURES)
def test_interleave_is_exact_at_any_index(weights: tuple[float, ...]) -> None:
    far = 5_000_000_000
    source, draw = order.interleave(np.arange(far, far + 500), weights)
    start = order.drawn(far, weights)
    for number in range(len(weights)):
        mine = draw[source == number]
        np.testing.assert_array_equal(mine, start[number] + np.arange(len(mine)))
    one_by_one = [order.interleave(np.array([far + i]), weights) for i in range(0, 500, 7)]
    np.testing.assert_array_equal(np.concatenate([s for s, _ in one_by_one]), source[::7])
    np.testing.assert_array_equal(np.concatenate([d for _, d in one_by_one]), draw[::7])


def test_a_source_without_weight_is_never_drawn() -> None:
    source, _ = order.interleave(np.arange(10_000), (0.0, 1.0, 0.0, 2.0, 0.0))
    assert set(source.tolist()) == {1, 3}
