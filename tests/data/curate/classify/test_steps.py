"""Steps drop beyond their limits only, note what they found, and travel to other processes."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from lm.data.curate.classify import Classified, Scored, linear
from lm.data.curate.document import Document, Dropped

VILE, FINE = Document("a#0", "vile and foul", "s", {"url": "u"}), Document("a#1", "word1 word2 word3", "s")


@dataclass(frozen=True)
class Length:
    """A scorer that counts characters."""

    def __call__(self, text: str) -> float:
        return float(len(text))


def test_what_lies_above_max_is_dropped(toy_model: Path) -> None:
    step = Classified("toxicity", str(toy_model), max=0.5)
    score = linear.load(toy_model)(VILE.text)
    assert step(VILE) == Dropped("toxicity.max", round(score, 4), 0.5)
    assert isinstance(step(FINE), Document)


def test_what_lies_below_min_is_dropped(toy_model: Path) -> None:
    step = Classified("quality", str(toy_model), min=0.5)
    assert step(FINE) == Dropped("quality.min", round(linear.load(toy_model)(FINE.text), 4), 0.5)
    assert isinstance(step(VILE), Document)


def test_a_score_at_the_limit_stays(toy_model: Path) -> None:
    score = linear.load(toy_model)(VILE.text)
    assert isinstance(Classified("a", str(toy_model), min=score, max=score)(VILE), Document)
    assert isinstance(Scored("perplexity", Length(), max=len(VILE.text))(VILE), Document)


def test_scores_are_noted_beside_one_another(toy_model: Path) -> None:
    first = Classified("toxicity", str(toy_model))(VILE)
    assert isinstance(first, Document)
    second = Scored("perplexity", Length(), max=100)(first)
    assert isinstance(second, Document)
    assert second.meta == {
        "url": "u",
        "scores": {"toxicity": round(linear.load(toy_model)(VILE.text), 4), "perplexity": 13.0},
    }
    assert json.loads(json.dumps(second.meta)) == second.meta
    assert "scores" not in VILE.meta
    assert second.text is VILE.text


def test_a_scorer_drops_above_max() -> None:
    assert Scored("perplexity", Length(), max=12)(VILE) == Dropped("perplexity.max", 13.0, 12)


@pytest.mark.parametrize(
    ("limits", "rule"), [({"max": 0.5}, "a.max"), ({"min": 0.5}, "a.min"), ({"min": 0.1, "max": 0.9}, "a.max")]
)
def test_what_is_measured_has_the_name_of_the_limit(toy_model: Path, limits: dict[str, float], rule: str) -> None:
    assert Classified("a", str(toy_model), **limits).measure(VILE) == {rule: linear.load(toy_model)(VILE.text)}
    assert Scored("b", Length(), max=1).measure(VILE) == {"b.max": 13.0}


def test_steps_travel(toy_model: Path) -> None:
    for step in (Classified("toxicity", str(toy_model), max=0.5), Scored("perplexity", Length(), max=12)):
        step(VILE)  # which opens what it needs
        sent = pickle.dumps(step)
        assert len(sent) < 1000
        assert pickle.loads(sent)(VILE) == step(VILE)
