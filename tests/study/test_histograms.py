"""Histograms of rules: every document stands in a bar, and the limit in the panel, wherever it is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lm.study import histograms

NORMAL = np.random.default_rng(0).normal(5, 1, 1000)


@pytest.mark.parametrize("limit", [-20.0, 3.0, 5.0, 400.0])
@pytest.mark.parametrize("values", [NORMAL, np.full(7, 5.0), np.append(NORMAL, 1e9)], ids=["normal", "one", "outlier"])
def test_the_limit_lies_within_the_panel(values: np.ndarray, limit: float) -> None:
    axes = histograms.draw(histograms.bars(values, limit, 40), 320, 160).axes[0]
    (line,) = axes.lines
    low, high = axes.get_xlim()
    assert list(line.get_xdata()) == [limit, limit]
    assert low <= limit <= high


def test_every_document_stands_in_a_bar() -> None:
    counts, edges, _ = histograms.bars(np.append(NORMAL, [1e9, -1e9, np.nan, np.inf]), 3.0, 40)
    assert counts.sum() == 1002
    assert len(counts) == 40
    assert len(edges) == 41
    assert edges[-1] < 10
    inside = (edges[10] <= NORMAL) & (edges[11] > NORMAL)
    assert counts[10] == inside.sum()


def test_a_limit_among_equal_values_has_room() -> None:
    counts, edges, _ = histograms.bars(np.zeros(5), 0.0, 10)
    assert counts.sum() == 5
    assert edges[0] < 0 < edges[-1]


def test_a_skewed_distribution_is_logarithmic() -> None:
    skewed = np.append(np.zeros(5000), np.linspace(0.1, 1, 100))
    assert histograms.draw(histograms.bars(skewed, 0.3, 40), 320, 160).axes[0].get_yscale() == "log"
    assert histograms.draw(histograms.bars(NORMAL, 0.3, 40), 320, 160).axes[0].get_yscale() == "linear"


def test_the_drawing_is_svg_in_the_colours_of_the_page() -> None:
    drawn = histograms.histogram(NORMAL, 3.0, 40, "words < 50 & more")
    assert drawn == histograms.histogram(NORMAL, 3.0, 40, "words < 50 & more")
    assert ElementTree.fromstring(drawn.replace("xlink:href", "href")).get("aria-label") == "words < 50 & more"
    assert "var(--train)" in drawn
    assert "var(--val)" in drawn
    assert "#0a000" not in drawn
