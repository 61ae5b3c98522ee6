"""Panels of classifiers: the figures are those of the texts held out, and the drawings take the page's colours."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from lm.data.curate.classify import linear, measure
from lm.study import classifiers, curation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [
        (" ".join([*rng.choice(words, 9), *["vile", "foul"] * (i % 2)]), i % 2 ^ (i % 10 == 3)) for i in range(200)
    ]
    linear.train(texts, folder / "toxicity", inputs={"toy": ""}, config={"kind": "toxicity"})
    return folder


@pytest.mark.parametrize("threshold", [0.0, 0.47, 1.0])
def test_a_panel_tells_what_the_threshold_in_use_is_worth(models: Path, threshold: float) -> None:
    (panel,) = classifiers.panels(models, {"toxicity": (0.3, threshold), "spam": (0.5,)})
    measured = linear.read_measured(models / "toxicity")
    assert {key: value for key, value in panel.items() if key != "svg"} == {
        "name": "toxicity",
        "points": [measure.point(*measured, 0.3), measure.point(*measured, threshold)],
        "examples": 40,
    }


def test_the_drawing_is_svg_in_the_colours_of_the_page(models: Path) -> None:
    (panel,) = classifiers.panels(models, {"toxicity": (0.5,)})
    assert isinstance(panel["svg"], Markup)
    root = ElementTree.fromstring(str(panel["svg"]).replace("xlink:href", "href"))
    assert root.get("aria-label") == "toxicity: precision and recall by threshold"
    assert {"precision", "recall"} <= {text.text for text in root.iter("text")}
    assert "var(--train)" in panel["svg"]
    assert "var(--val)" in panel["svg"]
    assert "#0a000" not in panel["svg"]


def test_the_curves_drawn_are_those_measured(models: Path) -> None:
    points = measure.curve(*linear.read_measured(models / "toxicity"))
    precision, recall, *limits = classifiers.draw(classifiers.Curve(points, (0.3, 0.8)), 300, 200).axes[0].lines
    assert list(precision.get_ydata()) == [point.precision for point in points]
    assert list(recall.get_ydata()) == [point.recall for point in points]
    assert [list(limit.get_xdata()) for limit in limits] == [[0.3, 0.3], [0.8, 0.8]]


def test_no_folder_no_panels(tmp_path: Path) -> None:
    assert classifiers.panels(tmp_path / "models", {"toxicity": (0.5,)}) == []


def test_a_classifier_has_a_page_of_its_own(models: Path) -> None:
    page = classifiers.write(models / "toxicity")
    text, facts = page.read_text(), linear.read_facts(models / "toxicity")
    assert page == models / "toxicity" / "report.html"
    assert "learned from 160 labelled texts, measured on 40 others" in text
    assert f"{100 * facts['even']['precision']:.3g} <span>%" in text
    assert text.count("<svg") == 1
    for point in measure.curve(*linear.read_measured(models / "toxicity"), 10):
        assert f"<tr><th>{point.threshold}</th>" in text
    assert classifiers.write(models / "toxicity").read_text() == text


@pytest.mark.parametrize(
    ("least", "most", "limits"),
    [(0.0, 0.5, (0.5,)), (0.5, 1.0, (0.5,)), (0.2, 0.7, (0.2, 0.7)), (0.0, 1.0, ())],
)
def test_the_limits_shown_are_those_that_can_drop(least: float, most: float, limits: tuple[float, ...]) -> None:
    config = {"steps": ["dedup", "spam"], "spam.min": least, "spam.max": most, "adult.min": 0.0, "adult.max": 0.5}
    assert curation._thresholds(config) == {"spam": limits}
