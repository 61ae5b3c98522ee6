"""What classifiers are worth: precision and recall by threshold, for the report of a curation and for their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from lm.common import manifest
from lm.common.config import flatten
from lm.data.curate.classify import linear
from lm.data.curate.classify.measure import Point, curve, point
from lm.study import figures
from lm.study.page import REPORT, environment

_SMALL, _LARGE = (320, 200), (680, 300)
_ROWS = 10  # of the table of thresholds


class Curve(NamedTuple):
    """Precision and recall by threshold, and the thresholds in use."""

    points: Sequence[Point]
    limits: Sequence[float]


def write(directory: Path) -> Path:
    """Writes `report.html` beside a classifier that `lm classifier` trained, and returns its path.

    Raises:
        UserError: there is none.
    """
    made = manifest.read(directory, linear.STAGE)
    facts = linear.read_facts(directory)
    measured = linear.read_measured(directory)
    best = Point(**facts["best"])
    page = (
        environment()
        .get_template("classifier.html")
        .render(
            name=directory.name,
            kind=made.config["kind"],
            version=made.version,
            facts=facts,
            even=Point(**facts["even"]),
            best=best,
            points=curve(*measured, _ROWS),
            svg=_svg(Curve(curve(*measured), (best.threshold,)), _LARGE, directory.name),
            config=[(key, json.dumps(value, ensure_ascii=False)) for key, value in flatten(made.config)],
        )
    )
    path = directory / REPORT
    manifest.write_atomic(path, page)
    return path


def panels(models: Path, limits: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Returns a panel for each classifier in a folder of `models` that `limits` names, with the thresholds it drops by.

    Keys: name, points (precision and recall at those thresholds), examples (texts it was measured on), svg. No folder,
    no panels.
    """
    found = []
    for name, thresholds in sorted(limits.items()):
        if manifest.find(models / name, linear.STAGE) is None:
            continue
        probability_N, label_N = linear.read_measured(models / name)
        found.append(
            {
                "name": name,
                "points": [point(probability_N, label_N, threshold) for threshold in thresholds],
                "examples": len(label_N),
                "svg": _svg(Curve(curve(probability_N, label_N), thresholds), _SMALL, name),
            }
        )
    return found


def _svg(drawn: Curve, size: tuple[int, int], name: str) -> Markup:
    return Markup(figures.svg(draw, drawn, *size, f"{name}: precision and recall by threshold"))


def draw(drawn: Curve, width: int, height: int) -> Figure:
    """Draws precision and recall over the threshold, each named at its end, and the thresholds in use."""
    figure, ax = figures.panel(width, height, right=64)
    thresholds = [point.threshold for point in drawn.points]
    precision, recall = ([getattr(point, name) for point in drawn.points] for name in ("precision", "recall"))
    ax.plot(thresholds, precision, color=figures.TRAIN, linewidth=1.8, clip_on=False)
    ax.plot(thresholds, recall, color=figures.VALIDATION, linewidth=1.8, clip_on=False)
    for limit in drawn.limits:
        figures.limit_line(ax, limit)
    ax.set_xlim(0, 1)
    figures.scale_from_zero(ax, lambda value, _: figures.short(value))
    ends = [(precision[-1], "precision", figures.TRAIN), (recall[-1], "recall", figures.VALIDATION)]
    figures.label_ends(ax, ends, height)
    return figure
