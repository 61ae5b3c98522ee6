"""Spans of a text, and what is put in their place."""

from __future__ import annotations

from collections.abc import Iterator

Spans = Iterator[tuple[int, int]]  # (start, end) in characters, in order, none touching the next


def replace_spans(text: str, spans: Spans, placeholder: str) -> tuple[str, int]:
    """Returns the text with every span replaced, and how many there were."""
    pieces, end = [], 0
    for start, stop in spans:
        pieces.append(text[end:start])
        end = stop
    return placeholder.join([*pieces, text[end:]]), len(pieces)


def places(text: str, word: str) -> Spans:
    """Finds every place of a word, none overlapping the one before."""
    start = text.find(word)
    while start >= 0:
        yield start, start + len(word)
        start = text.find(word, start + len(word))
