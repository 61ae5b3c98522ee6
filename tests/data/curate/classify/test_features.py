"""Slots are the set of hashed words and pairs of neighbours; rows of the matrix are those sets at length 1."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lm.data.curate.classify.features import matrix, slots, slots_of
from lm.data.curate.dedup.hashing import hash_words

TEXTS = ["The cat sat. The cat ran!", "one", "", "?!", "the cat sat the cat ran", "a b a b a b a"]


def n_distinct(text: str) -> int:
    """Different words and different pairs of neighbours."""
    words = text.lower().split()
    return len(set(words)) + len(set(pairwise(words)))


@pytest.mark.parametrize("text", ["a b a b a b a", "one", "the cat sat the cat ran", " ".join(map(str, range(200)))])
def test_slots_are_distinct_words_and_pairs(text: str) -> None:
    found = slots_of(text, 30)  # so many that none fall together
    assert len(found) == n_distinct(text)
    assert (np.diff(found) > 0).all()


def test_slots_lie_within_the_bits_and_nest() -> None:
    """Fewer bits are the upper ones of more, with nothing twice."""
    words = hash_words([" ".join(map(str, range(500)))]).hashes
    narrow = slots(words, 6)
    assert list(narrow) == list(range(64))
    assert list(narrow) == sorted({int(slot) >> 12 for slot in slots(words, 18)})


def test_case_and_punctuation_change_nothing_but_order_does() -> None:
    assert list(slots_of(TEXTS[0], 18)) == list(slots_of(TEXTS[4], 18))
    assert list(slots_of("cat the sat", 18)) != list(slots_of("the cat sat", 18))


def test_slots_of_a_text_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        slots_of("one two", 18)[0] = 0


def test_rows_of_the_matrix_are_the_slots_at_length_one() -> None:
    dense = matrix(hash_words(TEXTS), 12).toarray()
    assert dense.shape == (len(TEXTS), 4096)
    assert dense.dtype == np.float32
    for row, text in zip(dense, TEXTS, strict=True):
        assert list(np.flatnonzero(row)) == list(slots_of(text, 12))
    assert np.linalg.norm(dense, axis=1) == pytest.approx([1, 1, 0, 1, 1, 1])
