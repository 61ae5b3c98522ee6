"""Panels of classifiers: the figures are those of the texts held out, and the drawings take the page's colours."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from lm.data.curate.classify import linear, measure
from lm.study import classifiers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [
        (" ".join([*rng.choice(words, 9), *["vile", "foul"] * (i % 2)]), i % 2 ^ (i % 10 == 3)) for i in range(200)
    ]
    linear.train(texts, folder / "toxicity", inputs={"toy": ""}, config={})
    return folder


@pytest.mark.parametrize("threshold", [0.0, 0.47, 1.0])
def test_a_panel_tells_what_the_threshold_in_use_is_worth(models: Path, threshold: float) -> None:
    (panel,) = classifiers.panels(models, {"toxicity": threshold, "spam": 0.5})
    at = measure.point(*linear.read_measured(models / "toxicity"), threshold)
    assert {key: value for key, value in panel.items() if key != "svg"} == {
        "name": "toxicity",
        "threshold": threshold,
        "precision": at.precision,
        "recall": at.recall,
        "examples": 40,
    }


def test_the_drawing_is_svg_in_the_colours_of_the_page(models: Path) -> None:
    (panel,) = classifiers.panels(models, {"toxicity": 0.5})
    assert isinstance(panel["svg"], Markup)
    root = ElementTree.fromstring(str(panel["svg"]).replace("xlink:href", "href"))
    assert root.get("aria-label") == "toxicity: precision and recall by threshold"
    assert {"precision", "recall"} <= {text.text for text in root.iter("text")}
    assert "var(--train)" in panel["svg"]
    assert "var(--val)" in panel["svg"]
    assert "#0a000" not in panel["svg"]


def test_the_curves_drawn_are_those_measured(models: Path) -> None:
    points = measure.curve(*linear.read_measured(models / "toxicity"))
    precision, recall, limit = classifiers.draw(classifiers.Curve(points, 0.3), 300, 200).axes[0].lines
    assert list(precision.get_ydata()) == [point.precision for point in points]
    assert list(recall.get_ydata()) == [point.recall for point in points]
    assert list(limit.get_xdata()) == [0.3, 0.3]


def test_no_folder_no_panels(tmp_path: Path) -> None:
    assert classifiers.panels(tmp_path / "models", {"toxicity": 0.5}) == []
