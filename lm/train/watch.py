"""What a run tells of itself while it trains: how long steps take, here and elsewhere, what is hung, what was lost.

Times are in seconds; memory is in bytes.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from lm.common import cluster

HUNG = 70  # the exit code of a process that waited in vain, so that a launcher starts the job again


class Clock:
    """Splits the time since a run was started into what trained and what did not, and times single steps.

    Attributes:
        compilation: how long the first step took, which is mostly its compilation.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._launched = now, now()
        self._mark = self._lap = now()
        self._trained = self.compilation = 0.0
        self._steps: list[float] = []

    def step(self, *, compiled: bool) -> None:
        """Ends a step; what was compiled before it ran counts as lost."""
        took, self._mark = self._now() - self._mark, self._now()
        if compiled:
            self._trained += took
            self._steps.append(took)
        else:
            self.compilation = took

    def lap(self) -> float:
        """Returns the time since the last call, pauses left out."""
        took, self._lap = self._now() - self._lap, self._now()
        return took

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts what happens inside as lost."""
        start = self._now()
        yield
        pause = self._now() - start
        self._mark += pause
        self._lap += pause

    def goodput(self) -> float:
        """Returns the share of the time since the start that trained."""
        return self._trained / max(self._now() - self._launched, 1e-9)

    def steps(self) -> dict[str, float]:
        """Returns the middle and the slowest twentieth of the steps since the last call, here and on the slowest host.

        Every process must call it at the same step.
        """
        if not self._steps:
            return {}
        half, most = np.percentile(self._steps, [50, 95]).tolist()
        self._steps = []
        found = {"step_seconds/p50": half, "step_seconds/p95": most}
        if jax.process_count() > 1:
            by_process = multihost_utils.process_allgather(np.float32(half))
            found |= {"step_seconds/slowest": float(by_process.max()), "slowest_process": float(by_process.argmax())}
        return found


def device_memory() -> dict[str, float]:
    """Returns the most that any device of this process held at once, where the backend counts it."""
    peaks = [stats["peak_bytes_in_use"] for d in jax.local_devices() if (stats := d.memory_stats())]
    return {"device_bytes_peak": float(max(peaks))} if peaks else {}


class Watchdog:
    """Ends the process, saying where it hangs, when nothing was heard of for too long; `seconds` of 0 never does.

    A collective that one host never joins hangs all the others, without a word.
    """

    def __init__(self, seconds: float, die: Callable[[int], None] = os._exit) -> None:
        self._seconds, self._die = seconds, die
        self._doing, self._since = "starting", time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def doing(self, what: str) -> None:
        """Says what begins now; what is never said to have ended is what is hung."""
        self._doing, self._since = what, time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(min(self._seconds / 4, 10.0)):
            waited = time.monotonic() - self._since
            if waited > self._seconds:
                cluster.told(
                    f"{self._doing}: nothing for {waited:.0f} s (train.watchdog_seconds={self._seconds:g}); "
                    "another process is gone or slow; the same command continues from the last checkpoint"
                )
                faulthandler.dump_traceback(sys.stderr)
                self._die(HUNG)
                return
