"""Epochs from sizes alone, and when a run is told that it reads its text too often."""

from __future__ import annotations

import pytest

from lm.train.repetition import MOST_EPOCHS, estimate, warnings


def test_epochs_are_a_sources_tokens_over_its_own() -> None:
    """3,000 tokens of 4 bytes: three quarters on 900 bytes are 10 epochs, a quarter on 100 bytes 30."""
    assert estimate({"a": 900, "b": 100}, {"a": 3.0, "b": 1.0}, 3000, 4.0) == pytest.approx({"a": 10.0, "b": 30.0})


def test_without_weights_all_sources_are_read_equally_often() -> None:
    assert estimate({"a": 900, "b": 100}, None, 3000, 4.0) == pytest.approx({"a": 12.0, "b": 12.0})
    assert estimate({"a": 1000}, None, 3333, 4.0) == {"a": 13.0}


def test_sizes_that_are_not_known() -> None:
    assert estimate({"a": 900, "b": 0}, {"a": 3.0, "b": 1.0}, 3000, 4.0) == pytest.approx({"a": 10.0})
    assert estimate({"a": 900, "b": 0}, None, 3000, 4.0) == {}
    assert estimate({"a": 0}, None, 3000, 4.0) == {}
    assert estimate({"a": 900}, {"a": 0.0}, 3000, 4.0) == {}


def test_a_source_read_too_often_is_named_with_the_steps_that_would_do() -> None:
    assert warnings({"a": MOST_EPOCHS, "b": 0.0}, 1000) == []
    (line,) = warnings({"a": 3.0, "b": 2 * MOST_EPOCHS}, 1000)
    assert line.startswith("warning: 40 epochs of b: the model will learn this text by heart")
    assert "train.steps=500 is 20 epochs" in line
    assert "train.steps=1 " in warnings({"a": 1e9}, 10)[0]
