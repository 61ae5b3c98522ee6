"""Which losses a run does not go on from, and what the plan makes of examples that are left out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lm.common.errors import UserError
from lm.train.guard import DivergedError, Guard, behind


def test_a_jump_is_measured_against_the_losses_before() -> None:
    """Nothing is one before the window is full; then mean + spike · deviation is the limit."""
    guard = Guard("rollback", spike=3.0, window=4)
    for step, loss in enumerate((9.0, 1.0, 2.0, 1.0, 2.0, 2.9)):  # after 9 has left: mean 1.5, deviation 0.5
        assert not guard.look(step, loss, 1.0)
    with pytest.raises(DivergedError, match=r"step 6: loss 9\.0000, after"):
        guard.look(6, 9.0, 1.0)
    assert not replace(guard).look(7, 9.0, 1.0), "a copy begins anew, behind what was gone back to"
    with pytest.raises(DivergedError):
        guard.look(7, 9.0, 1.0)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf)])
def test_what_is_not_finite_stops(loss: float, norm: float) -> None:
    for action in ("stop", "rollback"):
        with pytest.raises(DivergedError):
            Guard(action).look(1, loss, norm)


def test_so_many_updates_in_a_row_are_left_out_and_no_more() -> None:
    guard = Guard("skip", limit=2)
    assert [guard.look(step, math.nan, 1.0) for step in (1, 2)] == [True, True]
    assert not guard.look(3, 1.0, 1.0)
    assert [guard.look(step, math.nan, 1.0) for step in (4, 5)] == [True, True]
    with pytest.raises(DivergedError):
        guard.look(6, math.nan, 1.0)


def test_examples_behind_those_left_out() -> None:
    assert [behind(index, []) for index in range(4)] == [0, 1, 2, 3]
    assert [behind(index, [(2, 3)]) for index in range(4)] == [0, 1, 5, 6]
    assert [behind(index, [(2, 3), (5, 1)]) for index in range(4)] == [0, 1, 6, 7]
    assert [behind(index, [(2, 3), (6, 2)]) for index in range(4)] == [0, 1, 5, 8]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"action": "pray"}, "train.guard.action=pray: choose one of stop, skip, rollback"),
        ({"spike": -1.0}, "train.guard.spike=-1.0, train.guard.window=100"),
        ({"action": "skip", "spike": 3.0}, "train.guard.spike=3.0: train.guard.action=skip leaves out what is not"),
    ],
)
def test_refusals(values: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        Guard(**values)
    assert str(error.value).startswith(message)
