"""Shares of a mixture: given, by size and temperature, and never more than so many epochs."""

from __future__ import annotations

import itertools
import random

import pytest

from lm.common.errors import UserError
from lm.data.mixture import shares

TOKENS = {"web": 800, "books": 150, "code": 50}


def test_without_weights_shares_are_by_size_and_temperature_evens_them_out() -> None:
    assert shares(TOKENS, {}) == pytest.approx({"web": 0.8, "books": 0.15, "code": 0.05})
    assert shares({"a": 900, "b": 100}, {}, temperature=2.0) == pytest.approx({"a": 0.75, "b": 0.25})
    assert shares(TOKENS, {}, temperature=1e9)["code"] == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize("temperature", [1e-300, 0.01, 0.05])
def test_a_temperature_near_0_gives_all_to_the_largest(temperature: float) -> None:
    assert shares({"a": 10**12, "b": 10**11}, {}, temperature=temperature) == pytest.approx({"a": 1.0, "b": 0.0})
    assert shares({"a": 10**12, "b": 10**12}, {}, temperature=temperature) == {"a": 0.5, "b": 0.5}


def test_weights_are_shares_in_any_unit_whatever_the_sizes() -> None:
    assert shares(TOKENS, {"web": 1, "books": 0, "code": 3}, temperature=7) == {"web": 0.25, "books": 0.0, "code": 0.75}


def test_what_a_capped_source_cannot_take_goes_to_the_others_in_proportion() -> None:
    # 1,000 tokens of training, at most 2 epochs: code gets 100 of the 500 it should; 400 go to web and books, 3 to 2.
    mixed = shares(TOKENS, {"web": 3, "books": 2, "code": 5}, max_epochs=2, budget=1000)
    assert mixed == pytest.approx({"web": 0.6, "books": 0.3, "code": 0.1})


def test_a_cap_holds_for_any_mixture_and_changes_nothing_that_is_within_it() -> None:
    draw = random.Random(0)
    for _ in range(300):
        tokens = {name: draw.randint(1, 1000) for name in "abcd"}
        weights = {name: draw.random() + 0.01 for name in "abcd"}
        epochs, budget = draw.uniform(1, 5), draw.randint(1, sum(tokens.values()))
        mixed = shares(tokens, weights, max_epochs=epochs, budget=budget)
        assert sum(mixed.values()) == pytest.approx(1)
        cap = {name: epochs * tokens[name] / budget for name in tokens}
        assert all(mixed[name] <= cap[name] * (1 + 1e-9) for name in tokens)
        free = [name for name in tokens if mixed[name] < cap[name] * (1 - 1e-9)]
        for one, other in itertools.pairwise(free):
            assert mixed[one] / mixed[other] == pytest.approx(weights[one] / weights[other])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": 0.0}, "data.temperature=0.0"),
        ({"max_epochs": -1.0}, "data.max_epochs=-1.0"),
        ({"max_epochs": 2.0, "budget": 2001}, "2.00 epochs of the 1,000 there are"),
    ],
)
def test_what_cannot_be_mixed_is_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        shares(TOKENS, {}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "weights", "named"),
    [
        (TOKENS, dict.fromkeys(TOKENS, 0.0), "weights web=0, books=0, code=0: must be 0 or more, and not all 0"),
        (TOKENS, {"web": 1.0, "books": -0.5, "code": 1.0}, "books=-0.5"),
        (TOKENS, {"web": float("nan"), "books": 1.0, "code": 1.0}, "web=nan"),
        (TOKENS | {"code": 0}, {}, "data.mixture.code: has no tokens"),
    ],
)
def test_sources_that_cannot_be_mixed_are_named(tokens: dict, weights: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        shares(tokens, weights)
