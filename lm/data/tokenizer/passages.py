"""Passages: text cut to a size that is quick to encode, and to draw a fair sample from."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

_PASSAGE_CHARS = 16_384
_LONGEST_CHARS = 4 * _PASSAGE_CHARS
_CUT = re.compile(r"\n(?=\S)")


def passages(text: str) -> Iterator[str]:
    """Cuts text into passages of about 16k characters; joined they are the text.

    Cuts are after the last line end before a line that does not start with white space, where no word of any
    tokenizer passes; in longer lines they are before a space, and only text that has neither is cut inside.
    """
    start = 0
    while len(text) - start > _PASSAGE_CHARS:
        found = _CUT.search(text, start + _PASSAGE_CHARS, start + _LONGEST_CHARS)
        end = found.end() if found else text.rfind(" ", start + _PASSAGE_CHARS, start + _LONGEST_CHARS)
        if end < 0:
            end = start + _LONGEST_CHARS
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def sample(texts: Iterable[str], max_bytes: int, seed: int) -> list[str]:
    """Returns passages in their order, each as likely to be taken as any other, of together at most `max_bytes`.

    The same texts, size and seed give the same sample. Every passage draws a number, and the lowest stay.
    """
    draw = random.Random(seed).random
    kept: list[tuple[float, int, int, str]] = []  # (number drawn, position, bytes, passage)
    held, below = 0, 1.0
    for position, passage in enumerate(passage for text in texts for passage in passages(text)):
        if (number := draw()) >= below:
            continue
        size = len(passage.encode())
        kept.append((number, position, size, passage))
        held += size
        if held > 2 * max_bytes:  # thin out now and then, not at every passage
            kept, held, below = _lowest(kept, max_bytes)
    kept, _, _ = _lowest(kept, max_bytes)
    return [passage for _, _, _, passage in sorted(kept, key=lambda item: item[1])]


def _lowest(
    kept: list[tuple[float, int, int, str]], max_bytes: int
) -> tuple[list[tuple[float, int, int, str]], int, float]:
    """Returns those with the lowest numbers that fit, their bytes, and the number to stay below from now on."""
    held = 0
    ordered = sorted(kept)
    for n, (number, _, size, _) in enumerate(ordered):
        if held + size > max_bytes:
            return ordered[:n], held, number
        held += size
    return ordered, held, 1.0
