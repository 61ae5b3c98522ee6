"""What is read off a step once it is done: checked, logged, shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import jax

from lm.common import hardware
from lm.common.metrics import MetricWriter, Unwritten
from lm.model import cost
from lm.train.compilation import Programs
from lm.train.console import Console
from lm.train.guard import Guard
from lm.train.watch import Clock, Watchdog, device_memory

if TYPE_CHECKING:
    from lm.train.loop import Task


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Returns the loss in bits per byte of text; NaN where the tokens' text is not known."""
    return nats_per_token / math.log(2) / bytes_per_token if bytes_per_token else math.nan


def due(step: int, every: int, steps: int) -> bool:
    """Says whether what happens every so many steps, and at the end, happens after this one."""
    return step == steps or (every > 0 and step % every == 0)


class Telemetry:
    """Fetches metrics one step late, has the guard look at them, and logs what is due."""

    def __init__(
        self,
        task: Task,
        writer: MetricWriter | Unwritten,
        console: Console,
        guard: Guard,
        clock: Clock,
        watchdog: Watchdog,
        programs: Programs,
        start: int,
    ) -> None:
        self._task, self._writer, self._console = task, writer, console
        self._guard, self._clock, self._watchdog, self._programs = guard, clock, watchdog, programs
        self._peak_flops = hardware.peak_flops()
        self._flops_per_token = cost.flops_per_token(task.model, task.model.max_seq_len)
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._start, self._logged_step = start, start
        self.evaluation: dict[str, float] | None = None

    def record(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes a dispatched step's metrics, to be read later."""
        self._pending = (step, metrics)
        self._watchdog.doing(f"step {step}")
        self.evaluation = None

    def settle(self, *, log: bool = False) -> None:
        """Waits for the recorded step, looks at its loss, and logs it if it is due or asked for.

        Raises:
            DivergedError: the guard found a loss that training cannot go on from.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._clock.step(compiled=step > self._start + 1)
        scaled = "train/loss_scale" in values  # where a gradient overflows now and then, which scales the next one down
        norm = 0.0 if scaled else values["train/grad_norm"]
        if self._guard.look(step, values["train/loss"], norm):
            self._console.note(f"step {step}: loss {values['train/loss']}; its update is left out")
        if log or step == 1 or due(step, self._task.log_every, self._task.steps):
            self._log(step, values)

    def _log(self, step: int, values: dict[str, float]) -> None:
        plan, seconds = self._task.plan, max(self._clock.lap(), 1e-9)
        examples = plan.first_example(step) - plan.first_example(self._logged_step)
        rate = examples * self._task.model.max_seq_len / seconds
        values |= {
            "train/bits_per_byte": bits_per_byte(values["train/loss"], self._task.bytes_per_token),
            "tokens_per_second": rate,
            "mfu": rate * self._flops_per_token / self._peak_flops,
            "goodput": self._clock.goodput(),
            **self._clock.steps(),
            **device_memory(),
        }
        left = (plan.total(self._task.steps) - plan.first_example(step)) * self._task.model.max_seq_len / rate
        compiled = self._logged_step > self._start  # else this rate is compilation's, and tells nothing of the rest
        if not compiled:
            values |= {"compile_seconds": self._clock.compilation, **self._programs.counts()}
        self._logged_step = step
        self._writer.write(step, values)
        self._console.step(step, values, left if compiled else None)

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """Logs an evaluation and keeps it for the checkpoint of the same step."""
        self.evaluation = values
        self._writer.write(step, values)
        self._console.evaluation(step, values)

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Keeps what happens inside out of the training rate, and tells the watchdog of it."""
        self._watchdog.doing(what)
        with self._clock.paused():
            yield
        self._watchdog.doing(f"after {what}")
