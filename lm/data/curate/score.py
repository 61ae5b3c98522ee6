"""How well a text was extracted: the F1 of its words against a reader's label."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import NamedTuple

from lm.data.curate.marks import UNSPACED_CLASS, unspaced_letters

# Marks that combine with letters: `\w` alone would cut Devanagari at every vowel sign.
_COMBINING = "\u0300-\u036f\u0590-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"


class F1(NamedTuple):
    """Precision, recall and their harmonic mean, each in 0..1."""

    precision: float
    recall: float
    f1: float


def text_f1(found: str, truth: str) -> F1:
    """Compares two texts as bags of words, in the manner of CETR (Weninger et al., 2010) and later comparisons.

    Case, order and punctuation do not count, and scripts without spaces count by the character. Two texts without words
    agree perfectly.
    """
    have, want = (Counter(_token().findall(text.lower())) for text in (found, truth))
    if not have and not want:
        return F1(1.0, 1.0, 1.0)
    common = (have & want).total()
    precision = common / have.total() if have else 0.0
    recall = common / want.total() if want else 0.0
    return F1(precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0)


@cache
def _token() -> re.Pattern[str]:
    return re.compile(rf"[{unspaced_letters()}]|(?:[^\W{UNSPACED_CLASS}]|[{_COMBINING}])+")
