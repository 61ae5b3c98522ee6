"""Graders: pure functions that say whether what a model wrote is the answer.

A base model does not stop after an answer, so graders read only the first line that has something on it.
"""

from __future__ import annotations

import re
import string

_ARTICLES = re.compile(r"^(a|an|the)\s+")
_NUMBERS = {
    word: str(n)
    for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}


def first_line(completion: str) -> str:
    """Returns the first line of a completion that is not blank, without surrounding white space."""
    return next((line.strip() for line in completion.splitlines() if line.strip()), "")


def normalised(text: str) -> str:
    """Returns text in lower case without outer punctuation or a leading article, one space between words.

    Numbers from zero to ten come out as digits, so that `Seven.` and `7` are the same answer.
    """
    words = text.lower().strip(string.punctuation + string.whitespace).split()
    plain = _ARTICLES.sub("", " ".join(words))
    return _NUMBERS.get(plain, plain)


def exact(completion: str, answer: str) -> bool:
    """Whether the first line of a completion is the answer, letter for letter."""
    return first_line(completion) == answer


def matches(completion: str, answer: str) -> bool:
    """Whether the first line of a completion is the answer, case, punctuation, article and digits aside."""
    return normalised(first_line(completion)) == normalised(answer)
