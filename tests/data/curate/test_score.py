"""F1 of words, by hand."""

from __future__ import annotations

import pytest

from lm.data.curate.score import F1, text_f1


@pytest.mark.parametrize(
    ("found", "truth", "score"),
    [
        ("", "", F1(1.0, 1.0, 1.0)),
        ("", "a", F1(0.0, 0.0, 0.0)),
        ("a", "", F1(0.0, 0.0, 0.0)),
        ("The cat, sat!", "the CAT - sat", F1(1.0, 1.0, 1.0)),
        ("a a b", "a b c d", F1(2 / 3, 2 / 4, 4 / 7)),
        ("b a", "a b", F1(1.0, 1.0, 1.0)),
        ("茶馆", "茶馆翻修", F1(1.0, 0.5, 2 / 3)),
        ("सीढ़ियों", "सीढ़ियाँ", F1(0.0, 0.0, 0.0)),  # a word each, not letters between vowel signs
        ("ไม้ไผ่", "ไม้ไผ่", F1(1.0, 1.0, 1.0)),
    ],
)
def test_words_in_common(found: str, truth: str, score: F1) -> None:
    assert text_f1(found, truth) == pytest.approx(score)
