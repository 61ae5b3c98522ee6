"""Graders read the first line, and forgive only what they say they forgive."""

from __future__ import annotations

import pytest

from lm.evals import graders


@pytest.mark.parametrize(
    ("completion", "line"),
    [(" red\nQuestion: What", "red"), ("\n\n  red  \nblue", "red"), ("red", "red"), ("", ""), (" \n ", "")],
)
def test_first_line(completion: str, line: str) -> None:
    assert graders.first_line(completion) == line


@pytest.mark.parametrize(
    ("completion", "answer", "is_exact", "is_match"),
    [
        (" red\nQuestion:", "red", True, True),
        (" Red.", "red", False, True),
        (" the  red kite", "red kite", False, True),
        (" 7", "seven", False, True),
        (" Seven!", "7", False, True),
        (" seventeen", "seven", False, False),
        (" red or blue", "red", False, False),
        (" blue\nred", "red", False, False),
        (" another", "other", False, False),
        ("", "red", False, False),
        (" 7.5", "7", False, False),
    ],
)
def test_exact_and_normalised(completion: str, answer: str, is_exact: bool, is_match: bool) -> None:
    assert graders.exact(completion, answer) is is_exact
    assert graders.matches(completion, answer) is is_match


@pytest.mark.parametrize("text", ["The Kite.", "  seven ", "a an the", "“quoted”", "", "...", "A"])
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = graders.normalised(text)
    assert graders.normalised(once) == once or once.split()[0] in {"a", "an", "the"}
