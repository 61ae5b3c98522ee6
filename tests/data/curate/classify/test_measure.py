"""Precision, recall and calibration against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lm.data.curate.classify.measure import Point, best, calibration_error, curve, point

PROBABILITY = np.array([0.1, 0.4, 0.6, 0.6, 0.9])
LABEL = np.array([0, 1, 0, 1, 1])


@pytest.mark.parametrize(
    ("threshold", "precision", "recall"),
    [(0.0, 3 / 5, 1), (0.4, 3 / 4, 1), (0.41, 2 / 3, 2 / 3), (0.6, 2 / 3, 2 / 3), (0.7, 1, 1 / 3), (1.0, 1, 0)],
)
def test_points(threshold: float, precision: float, recall: float) -> None:
    found = point(PROBABILITY, LABEL, threshold)
    assert (found.precision, found.recall) == pytest.approx((precision, recall))


def test_f1() -> None:
    assert Point(0.5, 1.0, 0.5).f1 == pytest.approx(2 / 3)
    assert Point(0.5, 0.0, 0.0).f1 == 0


def test_the_curve_goes_from_0_to_1_and_recall_falls() -> None:
    points = curve(PROBABILITY, LABEL, steps=10)
    assert [p.threshold for p in points] == pytest.approx(np.linspace(0, 1, 11))
    assert (np.diff([p.recall for p in points]) <= 0).all()
    assert points[4] == point(PROBABILITY, LABEL, 0.4)


def test_best_is_the_middle_of_equals() -> None:
    points = [Point(0.1, 1, 0.5), Point(0.2, 1, 1), Point(0.4, 1, 1), Point(0.9, 1, 1)]
    assert best(points).threshold == 0.4


def test_calibration_error_is_the_mean_gap() -> None:
    """Of 0.25 said of four texts, one positive: nothing. All positive: three quarters."""
    quarter = np.full(4, 0.25)
    assert calibration_error(quarter, np.array([1, 0, 0, 0])) == 0
    assert calibration_error(quarter, np.ones(4)) == pytest.approx(0.75)
    both = np.array([0.25, 0.25, 0.95, 0.95])
    assert calibration_error(both, np.array([0, 1, 0, 1])) == pytest.approx((0.5 + 0.9) / 4)


def test_what_draws_labels_as_it_says_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    assert calibration_error(probability, (rng.random(20_000) < probability).astype(int)) < 0.02
    assert calibration_error(probability, np.zeros(20_000, int)) == pytest.approx(0.5, abs=0.01)
