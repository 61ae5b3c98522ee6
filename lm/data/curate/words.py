"""Words, as the published thresholds of curation count them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Splits text into words and punctuation marks."""
    return _WORD.findall(text)
