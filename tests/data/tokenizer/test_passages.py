"""Passages are the text, cut in good places; samples are fair, bounded and repeatable."""

import random

from lm.data.tokenizer.passages import passages, sample


def test_passages_join_to_the_text():
    draw = random.Random(0)
    texts = ["", "a", "x" * 300_000, "word " * 60_000, "line\n" * 30_000, "\n" * 100_000]
    texts += ["".join(draw.choices("ab \n", k=200_000)) for _ in range(3)]
    for text in texts:
        parts = list(passages(text))
        assert "".join(parts) == text
        assert all(0 < len(part) <= 65_536 for part in parts)


def test_cuts_are_before_lines_or_spaces_where_there_are_any():
    for part in list(passages("def f():\n    return 1\n" * 20_000))[1:]:
        assert part.startswith("def")
    for part in list(passages("word " * 60_000))[1:]:
        assert part.startswith(" ")


def test_a_small_text_is_taken_whole():
    texts = ["one\n", "", "two\n"]
    assert sample(texts, 1000, seed=0) == ["one\n", "two\n"]


def test_a_sample_is_bounded_repeatable_and_in_order():
    texts = [f"{n:05d} " + "é" * 500 for n in range(5000)]
    taken = sample(texts, 200_000, seed=1)
    size = sum(len(text.encode()) for text in taken)
    assert 190_000 < size <= 200_000
    assert taken == sorted(taken)
    assert taken == sample(iter(texts), 200_000, seed=1)
    assert taken != sample(texts, 200_000, seed=2)


def test_every_part_of_the_text_is_as_likely():
    """Over many seeds each tenth of the documents gives a tenth of the sample, within five standard errors."""
    texts = [f"{n:04d}" + "x" * 96 for n in range(1000)]
    counts = [0] * 10
    for seed in range(40):
        for text in sample(texts, 10_000, seed):
            counts[int(text[:4]) // 100] += 1
    assert sum(counts) == 40 * 100
    assert all(abs(count - 400) < 5 * 400**0.5 for count in counts)
