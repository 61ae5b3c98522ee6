"""What time is counted as what, and that what hangs is told and ended."""

from __future__ import annotations

import threading

import pytest

from lm.train.watch import HUNG, Clock, Watchdog


class Time:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_time_that_trained_and_time_that_did_not() -> None:
    """Ten seconds of compilation, four steps of two, a pause of two: 8 of 20 seconds."""
    time = Time()
    clock = Clock(time)
    time.seconds += 10
    clock.step(compiled=False)
    for _ in range(2):
        time.seconds += 2
        clock.step(compiled=True)
    with clock.paused():
        time.seconds += 2
    for _ in range(2):
        time.seconds += 2
        clock.step(compiled=True)
    assert clock.goodput() == pytest.approx(8 / 20)
    assert clock.compilation == 10
    assert clock.lap() == 18
    assert clock.steps() == {"step_seconds/p50": 2.0, "step_seconds/p95": 2.0}
    assert clock.steps() == {}, "they are told once"


def test_the_slowest_twentieth() -> None:
    time = Time()
    clock = Clock(time)
    for seconds in range(1, 102):
        time.seconds += seconds
        clock.step(compiled=True)
    assert clock.steps() == {"step_seconds/p50": 51.0, "step_seconds/p95": 96.0}


def test_what_hangs_is_told_and_ended(capfd: pytest.CaptureFixture[str]) -> None:
    """With the name of what it waits for, and where in the program that is."""
    died, codes = threading.Event(), []

    def die(code: int) -> None:
        codes.append(code)
        died.set()

    with Watchdog(0.05, die) as watchdog:
        watchdog.doing("step 41")
        assert died.wait(30)
    told = capfd.readouterr().err
    assert codes == [HUNG]
    assert "step 41: nothing for" in told
    assert "in test_what_hangs_is_told_and_ended" in told


def test_a_watchdog_of_no_seconds_is_none() -> None:
    before = threading.active_count()
    with Watchdog(0.0):
        assert threading.active_count() == before
