"""A bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os

import pytest

from lm.common import progress
from lm.common.progress import Progress, duration, quantity, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the progress bar sees, in seconds; a test sets it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (185, "3m05s"), (3599, "59m59s"), (3600, "1h00m"), (7620, "2h07m")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (950, "950"),
        (999.7, "1k"),
        (1000, "1k"),
        (12_340, "12.3k"),
        (999_950, "1M"),
        (4_560_000, "4.56M"),
        (-2e9, "-2G"),
        (3e12, "3T"),
    ],
)
def test_quantity(value: float, text: str) -> None:
    assert quantity(value) == text


def test_elsewhere_a_line_every_ten_seconds_and_one_at_the_end(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress("reading", total=1000, unit="tokens", stream=stream) as bar:
        for _ in range(4):
            clock[0] += 5
            bar.advance(100, note="loss 3.2")
    assert stream.getvalue().splitlines() == [
        "reading  200/1k tokens  20/s  ETA 40s  loss 3.2",
        "reading  400/1k tokens  20/s  ETA 30s  loss 3.2",
        "reading  400/1k tokens  20/s  in 20s",
    ]


def test_without_a_total_there_is_no_eta_and_past_it_none_is_left(clock: list[float]) -> None:
    for total, expected in ((0, ["x  60  6/s"]), (50, ["x  60/50  6/s  ETA 0s"])):
        stream = io.StringIO()
        bar = Progress("x", total=total, stream=stream)
        clock[0] += 10
        bar.advance(60)
        assert stream.getvalue().splitlines() == expected


def test_a_terminal_gets_one_line_drawn_over_that_never_wraps(clock: list[float], columns: None) -> None:
    stream = Terminal()
    with Progress("x", total=4, stream=stream) as bar:
        for _ in range(4):
            clock[0] += 1
            bar.advance(note="a note " * 20)
    drawn = stream.getvalue().removesuffix("\n").split("\r\x1b[K")
    assert len(drawn) == 1 + 4 + 1
    assert "\n" not in stream.getvalue().removesuffix("\n")
    assert drawn[2].startswith("x  ████████████░░░░░░░░░░░░  2/4")
    assert max(map(len, drawn)) == 39


def test_a_terminal_is_redrawn_at_most_ten_times_a_second(clock: list[float], columns: None) -> None:
    stream = Terminal()
    with Progress("x", total=100, stream=stream) as bar:
        for _ in range(100):
            clock[0] += 0.01
            bar.advance()
    assert 5 <= stream.getvalue().count("\r") <= 11


def test_an_error_leaves_the_bar_on_a_line_of_its_own(columns: None) -> None:
    for stream, expected in ((Terminal(), "\n"), (io.StringIO(), "")):
        with pytest.raises(KeyError), Progress("x", stream=stream):
            raise KeyError
        assert stream.getvalue() == expected


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (48_321, "48.3 kB"), (1_115_394, "1.12 MB"), (5e12, "5 TB")],
)
def test_size(n_bytes: float, text: str) -> None:
    assert size(n_bytes) == text
