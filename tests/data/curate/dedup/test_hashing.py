"""Words and exact keys: equal exactly where the normalised words are, whatever the batch and the process."""

from __future__ import annotations

import hashlib
import random
import unicodedata

import numpy as np
import pytest

from lm.data.curate.dedup import hashing
from lm.data.curate.dedup.hashing import NO_KEY, Words, exact_keys, hash_words, scoped
from lm.data.curate.marks import UNSPACED

TEXTS = [
    "The quick brown fox.",
    "the  QUICK\tbrown—fox!",
    "quick the brown fox",
    "Straße und Maß, 3.14 ﬁne",
    "STRASSE UND MASS 3 14 fine",
    "नमस्ते दुनिया",
    "日本語のテキスト and ไทย text",
    "naïve na\u0308ive café cafe\u0301",
    "--- *** ---",
    "---***---",
    "",
    " \n\t ",
    "a\ud800b",
    "𝒜 x₂ ½",
]


def words_of(text: str) -> list[str]:
    """Cuts one character at a time."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words: list[str] = []
    inside = False
    for character in folded:
        letter = unicodedata.category(character)[0] in "LMN"
        alone = letter and any(low <= ord(character) <= high for low, high in UNSPACED)
        if letter and not alone and inside:
            words[-1] += character
        elif letter:
            words.append(character)
        inside = letter and not alone
    return words or ([symbols] if (symbols := "".join(folded.split())) else [])


def per_text(words: Words) -> list[list[int]]:
    return [words.hashes[start:end].tolist() for start, end in zip(words.offsets, words.offsets[1:], strict=False)]


def test_words_hash_alike_exactly_where_they_are_equal():
    names: dict[int, str] = {}
    for text, hashes in zip(TEXTS, per_text(hash_words(TEXTS)), strict=True):
        assert len(hashes) == len(words_of(text)), text
        for value, word in zip(hashes, words_of(text), strict=True):
            assert names.setdefault(value, word) == word
    assert len(set(names.values())) == len(names)


def test_many_words_without_a_collision():
    rng = random.Random(0)
    words = {"".join(rng.choices("ab01é日", k=rng.randint(1, 12))).replace("日", "日 ") for _ in range(50_000)}
    known: dict[int, str] = {}
    for text, hashes in zip(words, per_text(hash_words(words)), strict=True):
        for value, word in zip(hashes, words_of(text), strict=True):
            assert known.setdefault(value, word) == word
    assert len(set(known.values())) == len(known)


def test_a_text_hashes_alone_as_in_any_batch(monkeypatch):
    rng = random.Random(1)
    texts = [*TEXTS, *(" ".join(rng.choices(TEXTS, k=rng.randint(0, 60))) for _ in range(50))]
    alone = [per_text(hash_words([text]))[0] for text in texts]
    assert per_text(hash_words(texts)) == alone
    monkeypatch.setattr(hashing, "_BATCH_CHARACTERS", 300)  # texts are cut between words
    assert per_text(hash_words(texts)) == alone


def test_a_word_longer_than_a_batch_still_depends_on_the_text_alone():
    long = "x" * (2 * hashing._BATCH_CHARACTERS)
    assert per_text(hash_words(["a b", long]))[1] == per_text(hash_words([long]))[0]
    assert exact_keys(hash_words([long]))[0] != exact_keys(hash_words([long + "x"]))[0]


def test_exact_keys_ignore_case_punctuation_and_space_but_not_order():
    keys = exact_keys(hash_words(TEXTS)).tolist()
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == keys[4]
    assert keys[8] == keys[9] != NO_KEY
    assert keys[10] == keys[11] == NO_KEY
    expected = len({tuple(words_of(text)) for text in TEXTS})
    assert len(set(keys)) == expected
    assert max(keys) <= NO_KEY < 1 << 61


def scrambled(value: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor % 2**64
    return value ^ value >> 33


def number(letter: str) -> int:
    return ord(letter) | any(low <= ord(letter) <= high for low, high in UNSPACED) << 31


def test_keys_are_a_fixed_function_of_the_words():
    for text in ("The quick brown fox", "日本語, zoë"):
        hashes = [
            scrambled(sum(number(letter) * 0x9E3779B97F4A7C15**place for place, letter in enumerate(word)) % 2**64)
            for word in words_of(text)
        ]
        data = b"".join(value.to_bytes(8, "little") for value in hashes)
        key = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 3
        assert per_text(hash_words([text])) == [hashes]
        assert exact_keys(hash_words([text])).tolist() == [key]


def test_scopes_keep_equal_keys_apart_and_no_key_as_it_is():
    keys = np.array([[5, NO_KEY], [5, 7], [5, 7]], np.uint64)
    changed = scoped(keys, ["2024-10", "2024-18", "2024-10"])
    assert changed[0, 0] == changed[2, 0] != changed[1, 0]
    assert changed[0, 1] == NO_KEY
    assert changed[1, 1] != changed[2, 1]
    assert (changed <= NO_KEY).all()
    np.testing.assert_array_equal(scoped(keys[:, 0], ["2024-10", "2024-18", "2024-10"]), changed[:, 0])


@pytest.mark.parametrize("texts", [[], [""], ["", "a", ""]])
def test_few_texts(texts):
    words = hash_words(texts)
    assert words.counts.tolist() == [len(text) for text in texts]
    assert exact_keys(words).shape == (len(texts),)


def test_batches_are_the_words_again():
    words = hash_words(TEXTS)
    assert [text for batch in words.batches(4) for text in per_text(batch)] == per_text(words)
