"""Each of FineWeb's limits, met and missed by as little as there is."""

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules.fineweb import FineWeb

from .texts import no_limits

LONG = "This line has more than thirty characters in it"
CASES = [
    ("min_lines_ending_sentence", "a.\nb?\nc。\n" + "d\n" * 22, "a.\nb!\n\n" + "c\n" * 15, 2 / 17, 0.12),
    ("max_short_lines", f"{LONG}\n" * 33 + f"{'x' * 30}\n" * 67, f"{LONG}\n" * 3 + "x\n" * 7, 0.7, 0.67),
    ("max_duplicate_line_characters", "a\na\nbbbbbbbb", "a\na\n\nbbbbbbb", 1 / 9, 0.1),
    ("max_line_ends_per_word", "one two three.\n\n\none two three four five six seven", "one.\ntwo", 1 / 3, 0.3),
]


@pytest.mark.parametrize(("limit", "on", "beyond", "value", "threshold"), CASES, ids=[case[0] for case in CASES])
def test_limits(limit: str, on: str, beyond: str, value: float, threshold: float) -> None:
    assert getattr(FineWeb(), limit) == threshold
    others = no_limits(FineWeb)
    rules = FineWeb(**others | {limit: threshold})
    document = Document("f#0", on, "f")
    assert rules(document) is document
    assert rules(Document("f#0", beyond, "f")) == Dropped(f"fineweb.{limit}", pytest.approx(value), threshold)


def test_blank_lines_are_no_lines() -> None:
    values = FineWeb().measure(Document("f#0", "One is here.\n \n\t\nTwo is here.", "f"))
    assert values["fineweb.min_lines_ending_sentence"] == 1
    assert values["fineweb.max_duplicate_line_characters"] == 0


def test_a_document_without_lines_goes() -> None:
    assert FineWeb()(Document("f#0", "\n \n", "f")) == Dropped("fineweb.min_lines_ending_sentence", 0, 0.12)
