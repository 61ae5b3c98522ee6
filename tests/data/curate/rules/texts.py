"""Texts for the tests of rules: generated prose, and what breaks it."""

import dataclasses
import random
from collections.abc import Callable
from functools import cache

from lm.data.curate.rules.base import RuleSet

_WORDS = (
    "the be to of and that have with river stone lantern walked carefully yesterday because she found another "
    "narrow street under grey clouds while children laughed at strange small birds in a quiet garden near home"
)
_LINES = (
    "Read more",
    "• first - second",
    "- an item of a list",
    "and so on ...",
    "We use cookies. See our privacy policy.",
    "Please enable JavaScript to see this page.",
    "function f() { return 1; }",
    "Lorem ipsum dolor sit amet.",
    "It was said [1] before [citation needed].",
    "# # # #",
    "12 34 56 78 9.0 € 5",
    "日本語の文です。",
    "x" * 1001 + " is a long word.",
    "",
    "   ",
    "\u2028 odd \x0b ends \x85 of lines.",
)


def prose(rng: random.Random, words: int) -> str:
    """Returns sentences in paragraphs of about so many words in all."""
    pieces, vocabulary = [], _WORDS.split()
    while words > 0:
        length = rng.randint(4, 20)
        sentence = " ".join(rng.choices(vocabulary, k=length)).capitalize()
        pieces.append(sentence + rng.choice([".", ".", ".", "!", "?", '."', "...", ""]))
        pieces.append(rng.choice([" ", " ", " ", "\n", "\n\n"]))
        words -= length
    return "".join(pieces).strip()


def _repeat_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    return "\n".join(lines + rng.choices(lines, k=rng.randint(1, len(lines))))


def _repeat_words(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    start = rng.randrange(len(words))
    phrase = words[start : start + rng.randint(1, 12)]
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(words))
        words[place:place] = phrase
    return " ".join(words)


def _insert_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    for _ in range(rng.randint(1, 4)):
        lines.insert(rng.randint(0, len(lines)), rng.choice(_LINES))
    return "\n".join(lines)


def _symbols(text: str, rng: random.Random) -> str:
    return "".join(c + rng.choice(["", "", "", "#", "...", "…", "€", " 7 "]) if c == " " else c for c in text)


def _short_lines(text: str, rng: random.Random) -> str:
    return "".join("\n" if c == " " and rng.random() < 0.3 else c for c in text)


def _spread(text: str, rng: random.Random) -> str:
    return text.replace(". ", "." + "\n" * rng.randint(2, 8))


def _cut(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) + 1)
    return text[start : start + rng.randint(0, 600)]


_CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _repeat_lines,
    _repeat_words,
    _insert_lines,
    _symbols,
    _short_lines,
    _spread,
    _cut,
)


@cache
def varied(count: int) -> tuple[str, ...]:
    """Returns prose of all lengths, changed by none to three of the things that rules look for."""
    rng = random.Random(0)
    texts = ["", " ", "\n\n", "word", "word " * 60]
    while len(texts) < count:
        text = prose(rng, rng.choice([5, 45, 55, 200, 500]))
        for change in rng.choices(_CHANGES, k=rng.randint(0, 3)):
            text = change(text, rng)
        texts.append(text)
    return tuple(texts)


def no_limits(kind: type[RuleSet]) -> dict[str, None]:
    """Returns what takes every limit of a rule set away."""
    return {field.name: None for field in dataclasses.fields(kind) if field.name.startswith(("min_", "max_"))}
