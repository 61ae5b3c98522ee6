"""Decisions are those of datatrove's filters, given the same words."""

from collections import Counter
from collections.abc import Callable

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules import from_config
from lm.data.curate.words import datatrove_tokenizer

from .texts import varied

pytest.importorskip("datatrove")

from datatrove.data import Document as Theirs
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter

WORDS = datatrove_tokenizer()
PAIRS: dict[str, tuple[dict, Callable[[], BaseFilter], int]] = {
    "gopher_quality": ({}, lambda: GopherQualityFilter(language=WORDS), 7),
    "gopher_repetition": ({}, lambda: GopherRepetitionFilter(language=WORDS), 8),
    "c4": ({}, lambda: C4QualityFilter(language=WORDS), 3),
    "c4 without punctuation": (
        {"terminal_punctuation": False},
        lambda: C4QualityFilter(language=WORDS, filter_no_terminal_punct=False),
        3,
    ),
    # The paper's limit on duplicate lines is ours, datatrove has a tenth of it.
    "fineweb": ({}, lambda: FineWebQualityFilter(language=WORDS, char_duplicates_ratio=0.1), 4),
    "fineweb as datatrove": (
        {"max_duplicate_line_characters": 0.01},
        lambda: FineWebQualityFilter(language=WORDS),
        4,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_documents_are_kept_with_the_same_text(name: str) -> None:
    overrides, theirs, rules_seen = PAIRS[name]
    step, judge = from_config(name.split()[0], overrides), theirs()
    reasons: Counter[str] = Counter()
    kept = 0
    for text in varied(1000):
        document = Theirs(text=text, id="0")
        verdict = judge.filter(document)
        ours = step(Document("f#0", text, "f"))
        if isinstance(ours, Dropped):
            assert verdict is not True, (ours, text)
            reasons[ours.rule] += 1
        else:
            assert verdict is True, (verdict, text)
            assert ours.text == document.text
            kept += 1
    assert kept > 50
    assert len(reasons) >= rules_seen, reasons
