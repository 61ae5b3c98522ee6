"""How good a classifier is: precision and recall by threshold, and what its probabilities are worth.

Dims: N texts that it was not trained on, each with the probability it was given and its label, 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """Precision and recall of calling everything at or above a threshold positive."""

    threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def point(probability_N: np.ndarray, label_N: np.ndarray, threshold: float) -> Point:
    """Returns precision and recall at a threshold; the precision of calling nothing positive is 1."""
    called_N = probability_N >= threshold
    hits = int(np.sum(called_N & (label_N == 1)))
    precision = hits / int(called_N.sum()) if called_N.any() else 1.0
    return Point(float(threshold), precision, hits / max(int(np.sum(label_N == 1)), 1))


def curve(probability_N: np.ndarray, label_N: np.ndarray, steps: int = 50) -> list[Point]:
    """Returns precision and recall at evenly spaced thresholds from 0 to 1."""
    return [point(probability_N, label_N, step / steps) for step in range(steps + 1)]


def best(points: Iterable[Point]) -> Point:
    """Returns the point of the highest F1; among equals the one in the middle, far from either mistake."""
    points = list(points)
    highest = max(point.f1 for point in points)
    return min((p for p in points if p.f1 == highest), key=lambda p: abs(p.threshold - 0.5))


def calibration_error(probability_N: np.ndarray, label_N: np.ndarray, bins: int = 10) -> float:
    """Returns the expected calibration error: by how much stated probabilities differ from shares, on average."""
    bin_N = np.minimum((probability_N * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_N, weights=probability_N - label_N, minlength=bins)
    return float(np.abs(gaps).sum()) / max(len(probability_N), 1)
