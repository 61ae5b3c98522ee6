"""Training: what it learns, what it says of itself, and that neither order nor repetition matters."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate.classify import linear, measure
from lm.data.curate.classify.linear import Example, Linear

Texts = Callable[..., Iterator[Example]]


def trained(folder: Path, examples: list[Example], unseen: list[Example] | None = None) -> Linear:
    linear.train(examples, folder, inputs={"toy": ""}, config={}, unseen=unseen or ())
    return linear.load(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (linear.WEIGHTS, linear.MEASURED, linear.FACTS)}


def test_separable_texts_are_told_apart(toy_model: Path, texts: Texts) -> None:
    model = linear.load(toy_model)
    assert all((model(text) > 0.5) == bool(label) for text, label in texts(200, seed=1))


def test_probability_is_the_logistic_function_of_the_mean_weight() -> None:
    weights = np.zeros(8, np.float32)
    weights[[1, 2]] = 3.0, 1.0
    model = Linear(weights, bits=3, slope=0.5, offset=-1.0)
    assert model.probability(np.array([1, 2, 3, 4])) == pytest.approx(1 / (1 + np.exp(-(0.5 * 4 / 2 - 1))))
    assert model.probability(np.array([], np.int32)) == pytest.approx(1 / (1 + np.e))
    assert Linear(1e6 * weights, 3, -1.0, 0.0).probability(np.array([1])) == 0


def test_probabilities_are_shares(tmp_path: Path, texts: Texts) -> None:
    """Of labels a fifth of which are turned, four fifths of what is called positive are, and the model says so."""
    model = trained(tmp_path / "m", list(texts(2000, noise=0.2)))
    probability = np.array([model(text) for text, _ in texts(500, seed=2)])
    label = np.array([label for _, label in texts(500, seed=2)])
    assert probability[label == 1].mean() == pytest.approx(0.8, abs=0.06)
    assert probability[label == 0].mean() == pytest.approx(0.2, abs=0.06)
    assert linear.read_facts(tmp_path / "m")["calibration_error"] < 0.1


def test_held_out_texts_are_measured_as_the_model_scores_them(toy_model: Path, texts: Texts) -> None:
    probability, label = linear.read_measured(toy_model)
    model, everything = linear.load(toy_model), list(texts(400))
    scores = {(model(text), float(label)) for text, label in everything}
    assert len(probability) == 80
    assert label.sum() == 40
    assert set(zip(probability.tolist(), label.tolist(), strict=True)) <= scores
    facts = linear.read_facts(toy_model)
    assert (facts["examples"], facts["held_out"], facts["positive"]) == (320, 80, 0.5)
    assert facts["even"] == vars(measure.point(probability, label, 0.5))


def test_held_out_texts_are_not_trained_on(tmp_path: Path) -> None:
    """Labels that only remembering could give: what is learned by heart does not show in the measurement."""
    rng = random.Random(0)
    examples = [(" ".join(f"w{rng.randrange(40)}" for _ in range(8)), i % 2) for i in range(400)]
    trained(tmp_path / "m", examples)
    assert linear.read_facts(tmp_path / "m")["even"]["precision"] < 0.75


def test_a_text_given_twice_counts_once(tmp_path: Path, texts: Texts) -> None:
    examples = list(texts(100))
    trained(tmp_path / "once", examples)
    trained(tmp_path / "often", examples + [(text.upper() + "!", label) for text, label in examples])
    assert contents(tmp_path / "once") == contents(tmp_path / "often")


def test_order_changes_nothing(tmp_path: Path, texts: Texts) -> None:
    examples = list(texts(100, noise=0.1))
    trained(tmp_path / "one", examples)
    trained(tmp_path / "two", random.Random(1).sample(examples, len(examples)))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_unseen_texts_are_what_is_measured_on(tmp_path: Path, texts: Texts) -> None:
    """But for those that were trained on."""
    examples, unseen = list(texts(100)), list(texts(30, seed=3))
    model = trained(tmp_path / "m", examples, unseen + examples[:10])
    probability, _ = linear.read_measured(tmp_path / "m")
    assert sorted(probability) == sorted(model(text) for text, _ in unseen)
    assert linear.read_facts(tmp_path / "m")["examples"] == 100


@pytest.mark.parametrize(("n", "label"), [(0, 0), (38, 0), (39, 1)])
def test_too_few_of_a_label_are_refused(tmp_path: Path, texts: Texts, n: int, label: int) -> None:
    with pytest.raises(UserError, match=rf"toy: {n // 2} different texts labelled {label}, too few.*at least 20"):
        trained(tmp_path / "m", list(texts(n)))
    assert not (tmp_path / "m").exists()


def test_forty_texts_are_enough(tmp_path: Path, texts: Texts) -> None:
    model = trained(tmp_path / "m", list(texts(40)))
    assert model("vile foul") > model("word1 word2")


def test_texts_without_a_word_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy: no word stands in 3 of the texts"):
        trained(tmp_path / "m", [(f"alone{i}", i % 2) for i in range(60)])


def test_what_is_written_is_a_finished_stage(toy_model: Path) -> None:
    made = manifest.read(toy_model, linear.STAGE)
    assert made.counts == {"examples": 320, "held_out": 80}
    assert manifest.verify(toy_model) == []
    assert json.loads((toy_model / linear.FACTS).read_text())["best"]["recall"] == 1


def test_a_folder_without_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest\.json here"):
        linear.load(tmp_path)


def test_without_scikit_learn_it_says_what_to_install(
    tmp_path: Path, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)  # as if it were not there
    with pytest.raises(UserError, match=r"needs scikit-learn; pip install 'lm\[curate\]'"):
        trained(tmp_path / "model", list(texts(100)))
    assert not (tmp_path / "model").exists()
