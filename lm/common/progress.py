"""A progress bar on a terminal, plain lines at intervals elsewhere; both on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_LINE_EVERY_SECONDS = 10.0
_REDRAW_EVERY_SECONDS = 0.1
_BAR_WIDTH = 24


def duration(seconds: float) -> str:
    """Formats seconds as `8s`, `3m05s` or `2h07m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def quantity(value: float) -> str:
    """Formats a count with a metric suffix: `950`, `12.3k`, `4.56M`."""
    for limit, suffix in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        shown = float(f"{value / limit:.3g}")
        if abs(shown) < 1000:
            return f"{shown:g}{suffix}"
    return f"{value / 1e12:.3g}T"


def size(n_bytes: float) -> str:
    """Formats a number of bytes: `950 bytes`, `12.3 kB`, `4.56 MB`."""
    shown = quantity(n_bytes)
    return f"{shown[:-1]} {shown[-1]}B" if shown[-1].isalpha() else f"{shown} bytes"


class Stopwatch:
    """Wall time by part: `lap(name)` gives the time since the last lap to a part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Ends a part."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def table(self) -> str:
        """Returns one line a part, and the sum."""
        rows = [*self.seconds.items(), ("in all", sum(self.seconds.values()))]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {duration(seconds):>7}" for name, seconds in rows)


class Progress:
    """Counts units of work done and shows rate and ETA; use as a context manager.

    `total` of 0 means unknown: the bar then shows only count and rate.
    """

    def __init__(self, label: str, total: int = 0, unit: str = "", stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, 0
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._show(final=True) if kind is None else self._break_line()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Adds `amount` units, and redraws if it is time to; `note` is appended to the line."""
        self.done += amount
        every = _REDRAW_EVERY_SECONDS if self._terminal else _LINE_EVERY_SECONDS
        if time.monotonic() - self._shown >= every:
            self._show(note=note)

    def _show(self, *, note: str = "", final: bool = False) -> None:
        self._shown = time.monotonic()
        elapsed = max(self._shown - self._start, 1e-9)
        rate = self.done / elapsed
        parts = [self.label]
        if self.total and self._terminal:
            filled = min(_BAR_WIDTH, _BAR_WIDTH * self.done // self.total)
            parts.append("█" * filled + "░" * (_BAR_WIDTH - filled))
        parts.append(
            quantity(self.done) + (f"/{quantity(self.total)}" if self.total else "") + f" {self.unit}".rstrip()
        )
        parts.append(f"{quantity(rate)}/s")
        if final:
            parts.append(f"in {duration(elapsed)}")
        elif self.total and rate > 0:
            parts.append(f"ETA {duration(max(self.total - self.done, 0) / rate)}")
        if note:
            parts.append(note)
        line = "  ".join(parts)
        if self._terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be drawn over
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if final else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _break_line(self) -> None:
        if self._terminal:
            self._stream.write("\n")
