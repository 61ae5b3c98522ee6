"""MinHash: unbiased, linking as often as the formula says, and a function of each text alone."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from lm.common.errors import UserError
from lm.data.curate.dedup.hashing import NO_KEY, Words, hash_words, mix
from lm.data.curate.dedup.signature import EMPTY, PRESETS, MinHash

SOME = ["a b c d e f g", "a b c d e", "A, b! c", "", "a b c", "a b c d e f g h a b c d e f g h"]


def pairs_of_similarity(count: int, union: int, similarity: float, seed: int = 0) -> tuple[Words, Words]:
    """Returns two lists of sets of words; each pair has `union` words in all and shares `similarity` of them."""
    values = mix(np.arange(count * union, dtype=np.uint64) + np.uint64(seed << 32)).reshape(count, union)
    shared = round(union * similarity)
    half = shared + (union - shared) // 2
    first, second = values[:, :half], np.concatenate((values[:, :shared], values[:, half:]), axis=1)
    return tuple(  # type: ignore[return-value]
        Words(side.reshape(-1), np.arange(count + 1) * side.shape[1]) for side in (first, second)
    )


@pytest.mark.parametrize("ngram", [1, 2, 5])
def test_shingles_are_runs_of_words_within_one_text(ngram):
    shingles = MinHash(2, 2, ngram=ngram).shingles(hash_words(SOME))
    names: dict[int, tuple[str, ...]] = {}
    for number, text in enumerate(SOME):
        words = "".join(letter for letter in text.lower() if letter not in ",!").split()
        expected = [tuple(words[n : n + ngram]) for n in range(max(1, len(words) - ngram + 1))] if words else []
        found = shingles.hashes[shingles.offsets[number] : shingles.offsets[number + 1]].tolist()
        assert len(found) == len(expected)
        for value, shingle in zip(found, expected, strict=True):
            assert names.setdefault(value, shingle) == shingle
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("union", [10, 100, 1000])
@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (100, 13)])
@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.9])
def test_slots_agree_as_often_as_documents_are_similar(union, bands, rows, similarity):
    pairs = 60
    first, second = pairs_of_similarity(pairs, union, similarity)
    minhash = MinHash(bands, rows, ngram=1)
    agree = minhash.signatures(first) == minhash.signatures(second)
    spread = (similarity * (1 - similarity) / min(union, minhash.slots) / pairs) ** 0.5
    assert abs(agree.mean() - similarity) < 4 * spread
    # no worse for one pair than independent slots are, whose spread is binomial
    assert agree.mean(axis=1).std() < 1.3 * (similarity * (1 - similarity) / min(union, minhash.slots)) ** 0.5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("similarity", [0.7, 0.75, 0.8, 0.85])
def test_pairs_are_linked_as_often_as_bands_and_rows_say(preset, similarity):
    pairs = 150 if preset == "refinedweb" else 500
    minhash = MinHash(*PRESETS[preset], ngram=1)
    first, second = pairs_of_similarity(pairs, 1000, similarity)
    linked = (minhash.band_keys(first) == minhash.band_keys(second)).any(axis=1).mean()
    expected = minhash.link_probability(similarity)
    assert abs(linked - expected) < 4 * (expected * (1 - expected) / pairs) ** 0.5 + 0.01


@pytest.mark.parametrize(
    ("preset", "caught"),
    [
        ("fineweb", (0.565, 0.772, 0.924, 0.988)),
        ("refinedweb", (0.302, 0.761, 0.995, 1)),
        ("dclm", (0.358, 0.714, 0.964, 1)),
    ],
)
def test_presets_have_the_published_curves(preset, caught):
    found = [MinHash(*PRESETS[preset]).link_probability(similarity) for similarity in (0.7, 0.75, 0.8, 0.85)]
    np.testing.assert_allclose(found, caught, atol=1e-3)


def test_a_signature_depends_on_its_text_alone():
    rng = random.Random(0)
    texts = [*SOME, *(" ".join(rng.choices("abcdefghijkl", k=rng.randint(0, 300))) for _ in range(80))]
    minhash = MinHash(40, 50)
    together, keys = minhash.signatures(hash_words(texts)), minhash.band_keys(hash_words(texts))
    for number, text in enumerate(texts):
        np.testing.assert_array_equal(minhash.signatures(hash_words([text]))[0], together[number])
        np.testing.assert_array_equal(minhash.band_keys(hash_words([text]))[0], keys[number])


def test_order_and_repeats_of_shingles_do_not_matter_and_every_slot_is_filled():
    minhash = MinHash(50, 20, ngram=1)
    once, again = minhash.signatures(hash_words(["a b c d e", "e c b a d a a e"]))
    np.testing.assert_array_equal(once, again)
    assert (once != EMPTY).all()


def test_bands_are_equal_exactly_where_their_rows_are():
    minhash = MinHash(20, 2, ngram=1)
    words = hash_words([" ".join(random.Random(n).choices("abcdef", k=4)) for n in range(100)])
    rows = minhash.signatures(words).reshape(100, 20, 2)
    keys = minhash.band_keys(words)
    np.testing.assert_array_equal(keys[:, None] == keys, (rows[:, None] == rows).all(axis=-1))


def test_a_text_without_words_has_no_keys():
    keys = MinHash(3, 2).band_keys(hash_words(["", "a", " \n"]))
    assert (keys == NO_KEY).all(axis=1).tolist() == [True, False, True]
    assert not (keys[1] == NO_KEY).any()
    assert MinHash(3, 2).band_keys(hash_words([])).shape == (0, 3)


def slot_by_slot(shingles: list[int], seed: int, slots: int) -> list[int]:
    """Sketches with integers: each slot takes the smallest of the first round that reached it, or its own hash."""

    def odd_numbers(purpose: str, count: int) -> list[int]:
        start = int.from_bytes(hashlib.blake2b(f"{purpose} {seed}".encode(), digest_size=8).digest(), "little")
        return [scrambled((scrambled(n) + start) % 2**64) | 1 for n in range(count)]

    reached: dict[int, tuple[int, int]] = {}
    for turn, factor in enumerate(odd_numbers("rounds", max(4, slots // 64))):
        for shingle in shingles:
            entry = shingle * factor % 2**64
            slot, value = (entry >> 32) * slots >> 32, min((entry >> 16) % 2**32, 2**32 - 2)
            reached[slot] = min(reached.get(slot, (turn, value)), (turn, value))
    own = [
        min(min(shingle * factor % 2**64 >> 32 for shingle in shingles), 2**32 - 2)
        for factor in odd_numbers("slots", slots)
    ]
    return [reached[slot][1] if slot in reached else own[slot] for slot in range(slots)]


def scrambled(value: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor % 2**64
    return value ^ value >> 33


@pytest.mark.parametrize(("bands", "rows", "seed"), [(2, 3, 0), (14, 8, 1), (30, 15, 7)])
def test_signatures_are_a_fixed_function_of_the_shingles(bands, rows, seed):
    minhash = MinHash(bands, rows, seed=seed)
    texts = ["one two three", *(" ".join(map(str, range(count))) for count in (8, 60, 700))]
    for text in texts:
        words = hash_words([text])
        expected = slot_by_slot(minhash.shingles(words).hashes.tolist(), seed, minhash.slots)
        assert minhash.signatures(words).tolist() == [expected]


def test_another_seed_gives_other_keys():
    words = hash_words(["the quick brown fox jumps over the lazy dog"])
    assert not (MinHash(4, 2, seed=0).band_keys(words) == MinHash(4, 2, seed=1).band_keys(words)).any()


def test_config_names_a_preset_or_gives_bands_and_rows():
    base = {"preset": "", "bands": 20, "rows": 5, "ngram": 5, "seed": 1}
    assert MinHash.from_config(base) == MinHash(20, 5, 5, 1)
    assert MinHash.from_config({**base, "preset": "refinedweb"}) == MinHash(450, 20, 5, 1)


@pytest.mark.parametrize(("key", "value"), [("preset", "fine"), ("bands", 0), ("rows", -1), ("ngram", 0), ("seed", -1)])
def test_config_mistakes_are_named(key, value):
    base = {"preset": "", "bands": 20, "rows": 5, "ngram": 5, "seed": 1}
    with pytest.raises(UserError, match=rf"config\.dedup\.{key}: .*{value}"):
        MinHash.from_config({**base, key: value})
