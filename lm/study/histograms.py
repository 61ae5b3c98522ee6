"""Where documents lie on the scale of a rule, and where the rule cuts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from lm.common.progress import quantity
from lm.study import figures

_WIDTH, _HEIGHT = 320, 160
_SHOWN = (0.5, 99.5)  # percentiles; what lies beyond is heaped up at the ends
_SKEWED = 20  # times the mean bar, the highest one


class Bars(NamedTuple):
    """How many documents lie between each two edges, and the limit."""

    counts: np.ndarray
    edges: np.ndarray
    limit: float


def histogram(values: np.ndarray, limit: float, bins: int, title: str) -> str:
    """Returns an SVG of how many of `values` [documents] lie where, with a line at the rule's limit.

    The few values beyond the 0.5th and 99.5th percentile stand in the outermost bars, so that the rest can be told
    apart; the limit is always shown. Where few bars hold nearly everything, their heights are logarithmic.
    """
    return figures.svg(draw, bars(values, limit, bins), _WIDTH, _HEIGHT, title)


def bars(values: np.ndarray, limit: float, bins: int) -> Bars:
    """Returns the counts [bins] and edges [bins + 1] that are drawn; the counts are of all values that are finite."""
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, _SHOWN) if len(values) else (limit, limit)
    low, high = min(low, limit), max(high, limit)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(np.clip(values, low, high), bins, (low, high))
    return Bars(counts, edges, limit)


def draw(drawn: Bars, width: int, height: int) -> Figure:
    """Draws the bars and the limit."""
    figure, ax = figures.panel(width, height)
    counts, edges = drawn.counts, drawn.edges
    ax.stairs(counts, edges, fill=True, color=figures.TRAIN)
    ax.set_xlim(edges[0], edges[-1])
    if counts.max() > _SKEWED * counts.mean():
        ax.set_yscale("log")
        ax.set_ylim(0.7, 1.3 * counts.max())
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    else:
        figures.scale_from_zero(ax, lambda value, _: quantity(value))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: figures.short(value)))
    figures.limit_line(ax, drawn.limit)
    return figure
