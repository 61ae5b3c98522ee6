"""The train loop, to be read top to bottom."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import jax
import numpy as np
from jax.sharding import Mesh

from lm.common import hardware, manifest
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.metrics import MetricWriter
from lm.common.protocols import Evaluator
from lm.data.shards import Batch, Examples, iterate
from lm.model import cost
from lm.model.config import ModelConfig
from lm.train.console import Console
from lm.train.optimizer import Optimizer
from lm.train.schedule import BatchPlan
from lm.train.state import TrainState, abstract_state, init_state
from lm.train.step import make_step, place

NONFINITE = "nonfinite.json"  # what a batch of a loss that was not finite came from


@dataclass(frozen=True)
class Task:
    """Everything a run is, beside where it writes."""

    model: ModelConfig
    optimizer: Optimizer
    mesh: Mesh
    examples: Examples
    plan: BatchPlan
    steps: int
    seed: int
    microbatches: int
    loss_chunk: int
    z_loss: float
    ahead_weight: float
    clip_norm: float
    log_every: int
    eval_every: int
    checkpoint_every: int
    shares: dict[str, float]  # of the training tokens, by source
    bytes_per_token: float


def train(
    task: Task,
    checkpoints: Checkpoints,
    evaluators: Sequence[Evaluator],
    open_writer: Callable[[int], MetricWriter],
    console: Console,
    *,
    restore_fallback: bool = False,
) -> tuple[TrainState, int]:
    """Trains from the newest checkpoint, or from scratch, and returns the state and the step it stopped at.

    A run that is resumed takes the same batches in the same order, so its losses equal an uninterrupted run's
    bit for bit on the same machine and mesh. After SIGTERM or Ctrl-C it saves, and returns early. `open_writer` is
    given the step the run starts from.

    Raises:
        UserError: the loss is not finite (with the batch's provenance), or a checkpoint does not fit or verify.
    """
    state, start = restore_or_init(task, checkpoints, fallback=restore_fallback)
    if start:
        console.note(f"resuming at step {start} of {task.steps}")
    step_fn = make_step(
        task.model,
        task.optimizer,
        task.mesh,
        seed=task.seed,
        microbatches=task.microbatches,
        loss_chunk=task.loss_chunk,
        z_loss=task.z_loss,
        ahead_weight=task.ahead_weight,
        clip_norm=task.clip_norm,
    )
    step = start
    with open_writer(start) as writer, jax.set_mesh(task.mesh), stop_on_signal() as stop:
        telemetry = Telemetry(task, writer, console, start)
        for step, batch in enumerate(_batches(task, start), start + 1):
            state, metrics = step_fn(state, place(batch, task.mesh))  # asynchronous: returns before it is computed
            telemetry.settle()  # the step before this one, while this one runs
            telemetry.record(step, metrics)
            stopping = bool(stop)
            saving = stopping or _due(step, task.checkpoint_every, task.steps)

            if _due(step, task.eval_every, task.steps):
                telemetry.settle(log=True)
                with telemetry.paused():
                    values = {name: value for e in evaluators for name, value in e(state.params).items()}
                    telemetry.evaluated(step, values)
            if saving:
                telemetry.settle()
                with telemetry.paused():
                    writer.flush()  # what is logged up to this step is on disk before the checkpoint says so
                    checkpoints.save(step, state, {"examples": task.plan.first_example(step)}, telemetry.evaluation)
            if stopping:
                console.note(f"stopped at step {step} by signal; the same command continues here")
                break
    checkpoints.wait()
    return state, step


def restore_or_init(task: Task, checkpoints: Checkpoints, *, fallback: bool) -> tuple[TrainState, int]:
    """Returns the state to start from and its step: the newest checkpoint if there is one, else a fresh draw."""
    if checkpoints.latest() is None:
        return init_state(task.model, task.optimizer, task.mesh, task.seed), 0
    restored = checkpoints.restore(abstract_state(task.model, task.optimizer, task.mesh), fallback=fallback)
    assert restored.extra["examples"] == task.plan.first_example(restored.step), "the batch plan changed"
    return restored.state, restored.step


def _batches(task: Task, start: int) -> Iterator[Batch]:
    plan = [(task.plan.first_example(step), task.plan.size(step)) for step in range(start, task.steps)]
    return iterate(task.examples, plan)


def _due(step: int, every: int, steps: int) -> bool:
    return step == steps or (every > 0 and step % every == 0)


@contextmanager
def stop_on_signal() -> Iterator[list[int]]:
    """Yields a list that is non-empty once SIGTERM or Ctrl-C has arrived; a second Ctrl-C interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and received:
            signal.default_int_handler(number, frame)
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield received
        return
    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Returns the loss in bits per byte of text; NaN where the tokens' text is not known."""
    return nats_per_token / math.log(2) / bytes_per_token if bytes_per_token else math.nan


class Telemetry:
    """Fetches metrics one step late, checks that the loss is finite, and logs what is due."""

    def __init__(self, task: Task, writer: MetricWriter, console: Console, start: int) -> None:
        self._task, self._writer, self._console = task, writer, console
        self._peak_flops = hardware.peak_flops()
        self._flops_per_token = cost.flops_per_token(task.model, task.model.max_seq_len)
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._start, self._logged_step, self._clock = start, start, time.perf_counter()
        self.evaluation: dict[str, float] | None = None

    def record(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes a dispatched step's metrics, to be read later."""
        self._pending = (step, metrics)
        self.evaluation = None

    def settle(self, *, log: bool = False) -> None:
        """Waits for the recorded step, refuses a loss that is not finite, and logs it if it is due or asked for."""
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not np.isfinite(values["train/loss"]) or not np.isfinite(values["train/grad_norm"]):
            raise UserError(self._divergence(step, values))
        if log or step == 1 or _due(step, self._task.log_every, self._task.steps):
            self._log(step, values)

    def _log(self, step: int, values: dict[str, float]) -> None:
        plan, now = self._task.plan, time.perf_counter()
        examples = plan.first_example(step) - plan.first_example(self._logged_step)
        rate = examples * self._task.model.max_seq_len / max(now - self._clock, 1e-9)
        values |= {
            "train/bits_per_byte": bits_per_byte(values["train/loss"], self._task.bytes_per_token),
            "tokens_per_second": rate,
            "mfu": rate * self._flops_per_token / self._peak_flops,
        }
        left = (plan.total(self._task.steps) - plan.first_example(step)) * self._task.model.max_seq_len / rate
        compiled = self._logged_step > self._start  # else this rate is compilation's, and tells nothing of the rest
        self._logged_step, self._clock = step, now
        self._writer.write(step, values)
        self._console.step(step, values, left if compiled else None)

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """Logs an evaluation and keeps it for the checkpoint of the same step."""
        self.evaluation = values
        self._writer.write(step, values)
        self._console.evaluation(step, values)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keeps what happens inside out of the training rate."""
        start = time.perf_counter()
        yield
        self._clock += time.perf_counter() - start

    def _divergence(self, step: int, values: dict[str, float]) -> str:
        """Writes where every row of the batch came from beside the metrics, and returns the line that says so."""
        first, size = self._task.plan.first_example(step - 1), self._task.plan.size(step - 1)
        rows = [self._task.examples.provenance(index) for index in range(first, first + size)]
        path = self._writer.path.with_name(NONFINITE)
        manifest.write_atomic(path, json.dumps({"step": step, "batch": rows}, indent=1) + "\n")
        return (
            f"step {step}: loss {values['train/loss']}, gradient norm {values['train/grad_norm']}; the batch is "
            f"examples {first} to {first + size - 1}, whose documents stand in {path}; lower optimizer.peak_lr or look "
            f"at those documents, then start again with another --workdir"
        )
