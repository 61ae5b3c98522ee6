"""fastText models by path. `toxic.bin` is one of 825 bytes, trained on 400 lines of eight words each."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.data.curate.classify import Classified, fast_text
from lm.data.curate.document import Document, Dropped

MODEL = str(Path(__file__).parent / "toxic.bin")
TOXIC, FINE = "you stupid idiot", "the bread and the garden\n\nin the morning"


def test_probability_of_a_label() -> None:
    assert fast_text.probability(MODEL, "toxic", TOXIC) > 0.9
    assert fast_text.probability(MODEL, "toxic", FINE) < 0.1
    assert fast_text.probability(MODEL, "__label__fine", FINE) > 0.9


@pytest.mark.parametrize("text", [TOXIC, FINE, "", "\n", "unknown words\r\nonly"])
def test_probabilities_are_probabilities(text: str) -> None:
    """Not so in fastText itself, which says 1.00001."""
    found = [fast_text.probability(MODEL, label, text) for label in ("toxic", "fine")]
    assert all(0 <= value <= 1 for value in found)
    assert sum(found) == pytest.approx(1, abs=1e-4)


def test_the_step_drops_by_it() -> None:
    step = Classified("toxicity", MODEL, "toxic", max=0.5)
    assert step(Document("a#0", TOXIC, "s")) == Dropped("toxicity.max", 1.0, 0.5)
    assert isinstance(step(Document("a#1", FINE, "s")), Document)
    certain = Classified("quality", MODEL, "fine", min=0.5, max=1.0)
    assert isinstance(certain(Document("a#1", FINE, "s")), Document)


def test_an_unknown_label_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"toxic\.bin: has no label 'spam'; it has fine, toxic"):
        fast_text.check(MODEL, "spam")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"a\.bin: not a fastText model"):
        fast_text.check(str(tmp_path / "a.bin"), "toxic")
