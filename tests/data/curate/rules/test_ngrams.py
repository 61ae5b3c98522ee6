"""Repeated n-grams against the definition, written out."""

import random
from collections import Counter

import pytest

from lm.data.curate.rules.ngrams import NGrams


def top(words: list[str], n: int) -> int:
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not grams:
        return 0
    gram, occurrences = grams.most_common(1)[0]
    return occurrences * len(" ".join(gram))


def duplicate(words: list[str], n: int) -> int:
    read: set[tuple[str, ...]] = set()
    characters = place = 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in read:
            characters += len("".join(gram))
            place += n
        else:
            read.add(gram)
            place += 1
    return characters


@pytest.mark.parametrize("seed", range(60))
def test_any_words(seed: int) -> None:
    rng = random.Random(seed)
    vocabulary = ["a", "bb", "ccc", "dddd", "ab", "b", "."][: rng.randint(1, 7)]
    words = rng.choices(vocabulary, k=rng.choice([0, 1, 2, 5, 9, 30, 120]))
    ngrams = NGrams(words)
    lengths = list(range(2, 12))
    rng.shuffle(lengths)  # asked for in any order
    for n in lengths:
        assert ngrams.top(n) == top(words, n)
        assert ngrams.duplicate(n) == duplicate(words, n)


def test_the_commonest_is_the_first_of_those_as_common() -> None:
    assert NGrams(["long", "words", "a", "b", "a", "b", "long", "words"]).top(2) == 2 * len("long words")
    assert NGrams(["a", "b", "long", "words", "long", "words", "a", "b"]).top(2) == 2 * len("a b")
    assert NGrams(["each", "pair", "once"]).top(2) == len("each pair")


def test_no_word_is_counted_twice() -> None:
    assert NGrams(["x"] * 10).duplicate(5) == 5  # read at 0, counted at 1 to 5, too few left
    assert NGrams(["x"] * 11).duplicate(5) == 10


def test_words_are_compared_not_their_characters() -> None:
    # Joined without spaces, as datatrove compares them, both halves read the same.
    words = ["ab", "c", "d", "e", "f", "|", "a", "bc", "d", "e", "f"]
    assert NGrams(words).duplicate(5) == 0
