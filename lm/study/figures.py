"""A run's curves as inline SVG that takes its colours and letters from the page it stands in.

Figures are drawn in stand-in colours, each of which becomes a CSS variable of the page, so that one drawing serves
light and dark. Sizes are in CSS pixels.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from lm.common.progress import quantity
from lm.study import validation
from lm.study.record import Record

INK, MUTED, RULE, TRAIN, PALE, VALIDATION = (f"#0a000{n}" for n in range(6))
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", TRAIN: "train", PALE: "train-pale", VALIDATION: "val"}
_FONT = 11
_LINE_GAP = 15.0  # least distance of two labels
_MOST_POINTS = 1000
_ROUND = [1, 2, 5, 10]


T = TypeVar("T")
Draw = Callable[[Record, int, int], Figure]


def loss(record: Record, width: int, height: int) -> Figure:
    """Training loss (every logged step, and smoothed), validation loss, and what guessing would cost."""
    figure, ax = panel(width, height, right=84)
    labels: list[tuple[float, str, str]] = []
    steps, values = record.series("train/loss")
    if len(steps):
        smooth = smoothed(values)
        ax.plot(*thinned(steps, values), color=PALE, linewidth=0.9)
        ax.plot(*thinned(steps, smooth), color=TRAIN, linewidth=1.8)
        labels.append((smooth[-1], f"train {smooth[-1]:.3f}", TRAIN))
    val_steps, val_values = record.series("val/loss")
    if len(val_steps):
        marker = "o" if len(val_steps) <= 20 else ""
        ax.plot(val_steps, val_values, color=VALIDATION, linewidth=1.8, marker=marker, markersize=4.5, clip_on=False)
        labels.append((val_values[-1], f"val {val_values[-1]:.3f}", VALIDATION))
    guess = math.log(record.config["model"]["vocab_size"])
    ax.axhline(guess, color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)))
    ax.annotate(
        f"guessing blindly {guess:.2f}",
        (1, guess),
        (0, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=MUTED,
        size=_FONT - 1,
    )
    _scale_log(ax, np.concatenate([values, val_values, [guess]]))
    _steps_axis(ax, record)
    label_ends(ax, labels, height)
    return figure


def loss_by_source(record: Record, width: int, height: int) -> Figure:
    """Validation loss on each source of a mixture, and over all held-out text."""
    curves = {name: record.series(f"val/{name}/loss") for name in validation.sources(record)}
    labels = [(values[-1], f"{name} {values[-1]:.3f}", INK) for name, (_, values) in curves.items() if len(values)]
    steps, whole = record.series("val/loss")
    if len(whole):
        labels.append((whole[-1], f"all {whole[-1]:.3f}", VALIDATION))
    figure, ax = panel(width, height, right=20 + max([64, *(7 * len(text) for _, text, _ in labels)]))
    marker = "o" if len(steps) <= 20 else ""
    for at, values in curves.values():
        ax.plot(at, values, color=INK, linewidth=1.0, marker=marker, markersize=3, clip_on=False)
    ax.plot(steps, whole, color=VALIDATION, linewidth=1.8, marker=marker, markersize=4.5, clip_on=False)
    _scale_log(ax, np.concatenate([whole, *(values for _, values in curves.values())]))
    _steps_axis(ax, record)
    label_ends(ax, labels, height)
    return figure


def learning_rate(record: Record, width: int, height: int) -> Figure:
    """The learning rate's way over the run."""
    figure, ax = panel(width, height)
    ax.plot(*thinned(*record.series("train/learning_rate")), color=INK, linewidth=1.4)
    scale_from_zero(ax, lambda value, _: short(value))
    _steps_axis(ax, record)
    return figure


def gradient_norm(record: Record, width: int, height: int) -> Figure:
    """The gradient's norm before clipping, and the norm it is clipped to."""
    figure, ax = panel(width, height)
    steps, values = record.series("train/grad_norm")
    ax.plot(*thinned(steps, values), color=INK, linewidth=1.0)
    clip = record.config["train"]["clip_norm"]
    if clip and len(values) and values.max() > 0.8 * clip:
        ax.axhline(clip, color=VALIDATION, linewidth=0.9, linestyle=(0, (3, 3)))
    if len(values) and values.min() > 0 and values.max() > 20 * np.median(values):
        _scale_log(ax, values)
    else:
        scale_from_zero(ax, lambda value, _: short(value))
    _steps_axis(ax, record)
    return figure


def throughput(record: Record, width: int, height: int) -> Figure:
    """Tokens a second between logged steps, without evaluations; the first, which compiles, is left out."""
    figure, ax = panel(width, height)
    steps, rates = record.series("tokens_per_second")
    ax.plot(*thinned(steps[1:], rates[1:]), color=INK, linewidth=1.0)
    scale_from_zero(ax, lambda value, _: quantity(value))
    _steps_axis(ax, record)
    return figure


def smoothing_window(n: int) -> int:
    """Returns how many of `n` logged steps the smoothed curve takes together: odd, and a fortieth where n is large."""
    return max(min(5, n // 10), n // 40) | 1


def smoothed(values: np.ndarray) -> np.ndarray:
    """Returns the centred moving mean over `smoothing_window` values; over fewer near the start and the end.

    Near the start the window grows with the distance from it, for a wide one would lag behind a curve that falls.
    """
    index, half = np.arange(len(values)), smoothing_window(len(values)) // 2
    reach = np.minimum((index + 3) // 4, half)
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach, len(values) - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[last + 1] - sums[first]) / (last + 1 - first)


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most about a thousand points that keep the lowest and highest of every stretch."""
    if len(steps) <= _MOST_POINTS:
        return steps, values
    stretches = np.array_split(np.arange(len(steps)), _MOST_POINTS // 2)
    kept = {int(i) for part in stretches for i in (part[values[part].argmin()], part[values[part].argmax()])}
    chosen = np.array(sorted(kept | {0, len(steps) - 1}))
    return steps[chosen], values[chosen]


def svg(draw: Callable[[T, int, int], Figure], drawn: T, width: int, height: int, title: str) -> str:
    """Draws a figure and returns it as an `<svg>` element; the same values give the same bytes.

    `title` is what a screen reader says of it.
    """
    buffer = io.StringIO()
    salt = f"{title}-{width}"  # also keeps ids of several figures on one page apart
    settings = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": _FONT}
    with matplotlib.style.context(["default", settings]):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        draw(drawn, width, height).savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :].strip()
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(title)}">{body}'


def panel(
    width: int, height: int, *, left: int = 44, right: int = 10, top: int = 10, bottom: int = 26
) -> tuple[Figure, Axes]:
    """Returns a figure of one panel, with room for labels at its sides (CSS pixels), and its axes."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    ax = figure.add_axes(box)
    ax.set_frame_on(False)
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelcolor=MUTED, labelsize=_FONT, pad=5)
    return figure, ax


def _steps_axis(ax: Axes, record: Record) -> None:
    ax.set_xlim(0, max(record.steps, record.step, 1))
    ax.xaxis.set_major_locator(MaxNLocator(6 if ax.bbox.width > 400 else 3, integer=True, steps=_ROUND))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    ax.axhline(ax.get_ylim()[0], color=MUTED, linewidth=1.2)


def limit_line(ax: Axes, limit: float) -> None:
    """Marks the place on the x axis where something is cut; it stays within the panel."""
    ax.axvline(limit, color=VALIDATION, linewidth=1.2, linestyle=(0, (3, 3)), clip_on=False)


def scale_from_zero(ax: Axes, form: Callable[[float, int], str]) -> None:
    """Sets an axis from 0 to a little above the highest value drawn; `form` writes its numbers."""
    ax.set_ylim(0, (ax.dataLim.y1 if np.isfinite(ax.dataLim.y1) and ax.dataLim.y1 > 0 else 1) * 1.08)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND))
    ax.yaxis.set_major_formatter(FuncFormatter(form))


def _scale_log(ax: Axes, values: np.ndarray) -> None:
    """Sets a logarithmic axis with plain numbers on it, at round values as far as the range is small."""
    low, high = max(values.min(), 1e-6), values.max()
    ax.set_yscale("log")
    ax.set_ylim(low / (high / low) ** 0.08 / 1.01, high * (high / low) ** 0.05 * 1.01)
    ax.yaxis.set_major_locator(_log_locator(high / low))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _log_locator(ratio: float) -> Locator:
    if ratio < 4:
        return MaxNLocator(10, steps=_ROUND)
    return LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8) if ratio < 30 else (1,), numticks=12)


def short(value: float) -> str:
    """Returns a number to three digits."""
    return re.sub(r"e([+-])0*", r"e\1", f"{value:.3g}")


def label_ends(ax: Axes, labels: Sequence[tuple[float, str, str]], height: int) -> None:
    """Names lines at the right of the panel, level with their last values and moved apart where they would touch."""
    floor = -math.inf
    for value, text, colour in sorted(labels):
        at = ax.transData.transform((0, value))[1]
        floor = max(at, floor + _LINE_GAP)
        ax.figure.text(
            (ax.bbox.x1 + 8) / ax.figure.bbox.width, floor / height, text, color=colour, size=_FONT, va="center"
        )
