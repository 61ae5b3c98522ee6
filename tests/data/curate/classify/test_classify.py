"""The steps that curation makes of its config, and the classifiers that come with this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate import classify
from lm.data.curate.classify import linear, measure
from lm.data.curate.document import Document, Dropped
from lm.data.synthetic.crawl import labelled

FASTTEXT = str(Path(__file__).parent / "toxic.bin")


@pytest.mark.parametrize("kind", classify.KINDS)
def test_f1_on_templates_that_were_not_trained_on(kind: str, tmp_path: Path) -> None:
    """Other sentences, people and things than those of training; also with another seed than the one measured on."""
    folder = classify.trained(kind, tmp_path)
    facts = linear.read_facts(folder)
    assert measure.Point(**facts["even"]).f1 >= 0.95
    assert facts["calibration_error"] < 0.06
    texts, label = zip(*labelled(kind, "test", n=300, seed=7), strict=True)  # type: ignore[arg-type]
    probability = np.array([linear.load(folder)(text) for text in texts])
    assert measure.point(probability, np.array(label), 0.5).f1 >= 0.95


def test_a_model_that_is_not_given_is_trained_once(tmp_path: Path) -> None:
    section = classify.defaults()["spam"]
    step = classify.make("spam", section, tmp_path)
    assert step == classify.Classified("spam", str(tmp_path / "models/spam"), max=0.5)
    weights = tmp_path / "models/spam" / linear.WEIGHTS
    before = weights.stat().st_mtime_ns
    assert classify.make("spam", section, tmp_path) == step
    assert weights.stat().st_mtime_ns == before


def test_quality_keeps_what_is_above_and_the_others_what_is_below() -> None:
    limits = {kind: (section["min"], section["max"]) for kind, section in classify.defaults().items()}
    assert limits == {kind: (0.5, 1.0) if kind == "quality" else (0.0, 0.5) for kind in classify.KINDS}


def test_models_by_path(tmp_path: Path, toy_model: Path) -> None:
    section = classify.defaults()["toxicity"]
    step = classify.make("toxicity", {**section, "model": FASTTEXT, "label": "toxic"}, tmp_path)
    assert (step.model, step.label) == (FASTTEXT, "toxic")
    assert not list(tmp_path.iterdir())
    step = classify.make("toxicity", {**section, "model": str(toy_model)}, tmp_path)
    assert step.model == str(tmp_path / "models/toxicity")
    assert manifest.verify(tmp_path / "models/toxicity") == []
    assert linear.read_facts(tmp_path / "models/toxicity") == linear.read_facts(toy_model)


def test_what_is_copied_is_what_a_relative_path_named(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy_model.parent)
    section = {**classify.defaults()["toxicity"], "model": toy_model.name}
    step = classify.make("toxicity", section, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert isinstance(step(Document("a#0", "vile foul mean base", "s")), Dropped)


def test_checking_writes_nothing(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("", str(toy_model)):
        classify.check("toxicity", {**classify.defaults()["toxicity"], "model": model})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min": 0.6}, r"config\.toxicity\.min=0\.6, max=0\.5: must be 0 ≤ min ≤ max ≤ 1"),
        ({"max": 1.5}, r"max=1\.5: must be"),
        ({"model": "nowhere"}, r"config\.toxicity\.model=nowhere: no such file or folder; `lm classifier` makes one"),
        ({"model": "nowhere.bin"}, r"model=nowhere\.bin: no such file"),
        ({"model": FASTTEXT}, "has no label ''; it has fine, toxic"),
        ({"label": "toxic"}, r"label=toxic: only fastText models"),
        ({"model": str(Path(__file__).parent)}, r"no manifest\.json here"),
        ({"model": __file__}, r"no manifest\.json here"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        classify.make("toxicity", {**classify.defaults()["toxicity"], **changes}, tmp_path)
    assert not list(tmp_path.iterdir())
