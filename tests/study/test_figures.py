"""Curves: the points drawn are the metrics, whatever their number and range."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.study import figures, record


@pytest.fixture
def whole(finished: Path) -> record.Record:
    return record.read(finished)


def lines(figure: Any) -> list[tuple[list[float], list[float]]]:
    """Every line of more than two points, as steps and values."""
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines]
    return [line for line in drawn if len(line[0]) > 2]


def test_loss_draws_training_and_validation_as_logged(whole: record.Record) -> None:
    raw, smooth, validation = lines(figures.loss(whole, 400, 300))
    logged = [1, *range(2, 41, 2)]
    assert raw[0] == smooth[0] == logged
    assert raw[1] == pytest.approx([3 / math.sqrt(step) for step in logged])
    assert validation[0] == [10, 20, 30, 40]
    assert validation[1] == pytest.approx([3 / math.sqrt(step) + 1 for step in validation[0]])


def test_throughput_leaves_out_the_step_that_compiles(whole: record.Record) -> None:
    ((steps, rates),) = lines(figures.throughput(whole, 400, 300))
    assert steps == list(range(2, 41, 2))
    assert rates == [1000.0 + step for step in steps]


def test_other_panels_draw_their_metric(whole: record.Record) -> None:
    ((_, rates),) = lines(figures.learning_rate(whole, 400, 300))
    ((_, norms),) = lines(figures.gradient_norm(whole, 400, 300))
    assert rates == list(whole.series("train/learning_rate")[1])
    assert norms == list(whole.series("train/grad_norm")[1])


def test_everything_drawn_lies_in_the_panel(whole: record.Record) -> None:
    for draw in (figures.loss, figures.learning_rate, figures.gradient_norm, figures.throughput):
        figure = draw(whole, 400, 300)
        low, high = figure.axes[0].get_ylim()
        assert all(low <= value <= high for _, values in lines(figure) for value in values)


def test_values_that_are_not_finite_are_left_out(whole: record.Record) -> None:
    metrics = [{**line, "train/loss": math.nan} if line["step"] == 20 else line for line in whole.metrics]
    raw, *_ = lines(figures.loss(dataclasses.replace(whole, metrics=metrics), 400, 300))
    assert 20 not in raw[0]
    assert np.isfinite(raw[1]).all()


def test_one_logged_step_is_enough(whole: record.Record) -> None:
    short = dataclasses.replace(whole, metrics=whole.metrics[:1])
    for draw in (figures.loss, figures.learning_rate, figures.gradient_norm, figures.throughput):
        assert figures.svg(draw, short, 400, 300, "One").endswith("</svg>")


def test_labels_at_line_ends_keep_their_distance(whole: record.Record) -> None:
    metrics = [{**line, "val/loss": line["train/loss"]} for line in whole.metrics]
    figure = figures.loss(dataclasses.replace(whole, metrics=metrics), 400, 300)
    first, second = (text.get_position()[1] * 300 for text in figure.texts)
    assert second - first >= 14


def test_drawings_take_their_colours_from_the_page(whole: record.Record) -> None:
    drawn = figures.svg(figures.loss, whole, 400, 300, "Loss")
    assert "var(--train)" in drawn
    assert "var(--val)" in drawn
    assert "#0a000" not in drawn
    assert "http" not in drawn


def test_smoothing_keeps_constants_the_first_value_and_lies_between_neighbours() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(size=500)
    smooth = figures.smoothed(noisy)
    assert figures.smoothed(np.full(500, 2.5)) == pytest.approx(np.full(500, 2.5))
    assert smooth[0] == noisy[0]
    half = figures.smoothing_window(500) // 2
    assert smooth[250] == pytest.approx(noisy[250 - half : 251 + half].mean())
    assert smooth[-1] == pytest.approx(noisy[-half - 1 :].mean())
    assert smooth[50:].std() < noisy[50:].std() / 2


def test_thinning_keeps_the_ends_and_every_peak() -> None:
    steps, values = np.arange(10_000), np.sin(np.arange(10_000.0))
    values[[3_333, 7_777]] = 50, -50
    some_steps, some_values = figures.thinned(steps, values)
    assert len(some_steps) <= 1_002
    assert list(some_values) == list(values[some_steps])
    assert {0, 3_333, 7_777, 9_999} <= set(some_steps.tolist())
    assert (np.diff(some_steps) > 0).all()
