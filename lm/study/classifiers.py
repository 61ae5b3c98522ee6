"""What the classifiers of a curation are worth: precision and recall by threshold, drawn for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from lm.common import manifest
from lm.data.curate.classify import linear
from lm.data.curate.classify.measure import Point, curve, point
from lm.study import figures

_WIDTH, _HEIGHT = 320, 200


class Curve(NamedTuple):
    """Precision and recall by threshold, and the threshold in use."""

    points: Sequence[Point]
    limit: float


def panels(models: Path, limits: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns a panel for each classifier trained in a folder of `models` whose threshold `limits` gives by name.

    Keys: name, threshold, precision and recall there, examples (texts it was measured on), svg. No folder, no panels.
    """
    found = []
    for name, limit in sorted(limits.items()):
        if manifest.find(models / name, linear.STAGE) is None:
            continue
        probability_N, label_N = linear.read_measured(models / name)
        at = point(probability_N, label_N, limit)
        drawn = Curve(curve(probability_N, label_N), limit)
        found.append(
            {
                "name": name,
                "threshold": limit,
                "precision": at.precision,
                "recall": at.recall,
                "examples": len(label_N),
                "svg": Markup(figures.svg(draw, drawn, _WIDTH, _HEIGHT, f"{name}: precision and recall by threshold")),
            }
        )
    return found


def draw(drawn: Curve, width: int, height: int) -> Figure:
    """Draws precision and recall over the threshold, each named at its end, and the threshold in use."""
    figure, ax = figures.panel(width, height, right=64)
    thresholds = [point.threshold for point in drawn.points]
    precision, recall = ([getattr(point, name) for point in drawn.points] for name in ("precision", "recall"))
    ax.plot(thresholds, precision, color=figures.TRAIN, linewidth=1.8, clip_on=False)
    ax.plot(thresholds, recall, color=figures.VALIDATION, linewidth=1.8, clip_on=False)
    figures.limit_line(ax, drawn.limit)
    ax.set_xlim(0, 1)
    figures.scale_from_zero(ax, lambda value, _: figures.short(value))
    ends = [(precision[-1], "precision", figures.TRAIN), (recall[-1], "recall", figures.VALIDATION)]
    figures.label_ends(ax, ends, height)
    return figure
