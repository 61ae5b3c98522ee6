"""The train loop, to be read top to bottom."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lm.common import cluster, manifest
from lm.common import mesh as meshes
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.metrics import MetricWriter, Unwritten
from lm.common.protocols import Evaluator
from lm.data.shards import Batch, Examples, iterate
from lm.model.config import ModelConfig
from lm.train import events, layout
from lm.train.compilation import Programs
from lm.train.console import Console
from lm.train.guard import DivergedError, Guard, behind
from lm.train.optimizer import Optimizer
from lm.train.profiles import Profiler
from lm.train.schedule import BatchPlan
from lm.train.state import TrainState, abstract_state, init_state
from lm.train.step import make_step, place
from lm.train.telemetry import Telemetry, due
from lm.train.watch import Clock, Watchdog

NONFINITE = "nonfinite.json"  # what a batch of a loss that is not to be trusted came from
Skipped = list[tuple[int, int]]  # runs of examples that are left out: the first, and how many


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
    gradient_dtype: str
    log_every: int
    eval_every: int
    checkpoint_every: int
    guard: Guard
    watchdog_seconds: float
    profile_steps: tuple[int, ...]
    profile_length: int
    shares: dict[str, float]  # of the training tokens, by source
    bytes_per_token: float


@dataclass(frozen=True)
class Outlets:
    """Where a run goes to and what looks at it on the way.

    `open_writer` is given the step the run starts from; in `directory` stands what else is to be told of the run.
    """

    checkpoints: Checkpoints
    evaluators: Sequence[Evaluator]
    open_writer: Callable[[int], MetricWriter | Unwritten]
    console: Console
    directory: Path


def train(task: Task, outlets: Outlets, *, restore_fallback: bool = False) -> tuple[TrainState, int]:
    """Trains from the newest checkpoint, or from scratch, and returns the state and the step it stopped at.

    A run that is resumed takes the same batches in the same order, so its losses equal an uninterrupted run's
    bit for bit on the same machine and mesh. After SIGTERM or Ctrl-C it saves, and returns early. Where the guard says
    so, a run goes back to its last checkpoint and leaves out the examples since.

    Raises:
        UserError: the loss is not to be trusted (with the batch's provenance), or a checkpoint does not fit or verify.
    """
    clock, left_out = Clock(), None
    while True:
        state, start, skipped = restore_or_init(task, outlets.checkpoints, fallback=restore_fallback)
        skipped = skipped if left_out is None else left_out
        if start:
            outlets.console.note(f"resuming at step {start} of {task.steps}")
        try:
            return _train_on(task, outlets, state, start, skipped, clock)
        except DivergedError as found:
            if task.guard.action != "rollback" or len(skipped) >= task.guard.limit:
                raise UserError(_blame(task, found, skipped, outlets.directory)) from found
            left_out = _go_around(task, outlets, found, skipped)


def _train_on(
    task: Task, outlets: Outlets, state: TrainState, start: int, skipped: Skipped, clock: Clock
) -> tuple[TrainState, int]:
    """Trains from a state to the end, a signal, or a loss that is not to be trusted."""
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
        gradient_dtype=task.gradient_dtype,
        skip_nonfinite=task.guard.action == "skip",
    )
    step, guard = start, replace(task.guard)
    with (
        outlets.open_writer(start) as writer,
        jax.set_mesh(task.mesh),
        stop_on_signal() as stop,
        Watchdog(task.watchdog_seconds) as watchdog,
        Programs() as programs,
        Profiler(outlets.directory, task.profile_steps, task.profile_length, outlets.console.note) as profiler,
    ):
        if task.mesh.size > 1 and start < task.steps:
            _write_layout(task, state, start, skipped, outlets.directory)
        telemetry = Telemetry(task, writer, outlets.console, guard, clock, watchdog, programs, start)
        for step, batch in enumerate(_batches(task, start, skipped), start + 1):
            placed = place(batch, task.mesh, task.plan.size(step - 1))
            state, metrics = step_fn(state, placed)  # asynchronous: returns before it is computed
            telemetry.settle()  # the step before this one, while this one runs
            telemetry.record(step, metrics)
            stopping = stop(step)
            saving = stopping or due(step, task.checkpoint_every, task.steps)
            logged = due(step, task.log_every, task.steps)
            profiler.after(step, metrics, telemetry.paused, logged=logged, last=stopping or step == task.steps)

            if due(step, task.eval_every, task.steps):
                telemetry.settle(log=True)
                with telemetry.paused(f"evaluation after step {step}"):
                    values = {name: value for e in outlets.evaluators for name, value in e(state.params).items()}
                    telemetry.evaluated(step, values)
            if saving:
                telemetry.settle()
                with telemetry.paused(f"checkpoint {step}"):
                    writer.flush()  # what is logged up to this step is on disk before the checkpoint says so
                    extra = {"examples": behind(task.plan.first_example(step), skipped), "skipped": skipped}
                    outlets.checkpoints.save(step, state, extra, telemetry.evaluation)
            if stopping:
                outlets.console.note(f"stopped at step {step} by signal; the same command continues here")
                break
        watchdog.doing("the last checkpoint")
        outlets.checkpoints.wait()
    return state, step


def restore_or_init(task: Task, checkpoints: Checkpoints, *, fallback: bool) -> tuple[TrainState, int, Skipped]:
    """Returns the state to start from, its step, and the examples left out until then.

    That is the newest checkpoint if there is one, else a fresh draw.
    """
    if checkpoints.latest() is None:
        return init_state(task.model, task.optimizer, task.mesh, task.seed), 0, []
    restored = checkpoints.restore(abstract_state(task.model, task.optimizer, task.mesh), fallback=fallback)
    skipped = [(first, count) for first, count in restored.extra.get("skipped", [])]
    assert restored.extra["examples"] == behind(task.plan.first_example(restored.step), skipped), "the plan changed"
    return restored.state, restored.step, skipped


def _batches(task: Task, start: int, skipped: Skipped) -> Iterator[Batch]:
    plan = [(behind(task.plan.first_example(step), skipped), task.plan.size(step)) for step in range(start, task.steps)]
    return iterate(task.examples, plan, rows=partial(meshes.local_rows, task.mesh))


def _write_layout(task: Task, state: TrainState, start: int, skipped: Skipped, directory: Path) -> None:
    first, size = behind(task.plan.first_example(start), skipped), task.plan.size(start)
    batch = place(task.examples.batch(first, size, meshes.local_rows(task.mesh, size)), task.mesh, size)
    activations = layout.of_activations(task.model, state.params, batch)
    if cluster.is_first():
        layout.write(directory / layout.NAME, task.mesh, layout.of_state(state), activations)


def _go_around(task: Task, outlets: Outlets, found: DivergedError, skipped: Skipped) -> Skipped:
    """Returns what is to be left out from the last checkpoint on, and writes down that it is."""
    outlets.checkpoints.wait()
    to = outlets.checkpoints.latest() or 0
    first = behind(task.plan.first_example(to), skipped)
    end = behind(task.plan.first_example(found.step - 1), skipped) + task.plan.size(found.step - 1)
    event = {"event": "rollback", "step": found.step, "why": found.why, "to": to, "examples": [first, end - first]}
    events.write(outlets.directory, event)
    outlets.console.note(f"{found}; back to step {to}, examples {first} to {end - 1} are left out")
    return [*skipped, (first, end - first)]


def _blame(task: Task, found: DivergedError, skipped: Skipped, directory: Path) -> str:
    """Writes where every row of the batch came from beside the metrics, and returns the line that says so."""
    first, size = behind(task.plan.first_example(found.step - 1), skipped), task.plan.size(found.step - 1)
    rows = [task.examples.provenance(index) for index in range(first, first + size)]
    if cluster.is_first():
        manifest.write_atomic(directory / NONFINITE, json.dumps({"step": found.step, "batch": rows}, indent=1) + "\n")
    return (
        f"{found}; the batch is examples {first} to {first + size - 1}, whose documents stand in "
        f"{directory / NONFINITE}; lower optimizer.peak_lr or look at those documents, then start again with another "
        "--workdir"
    )


@contextmanager
def stop_on_signal() -> Iterator[Callable[[int], bool]]:
    """Yields what says after a step whether to stop: once SIGTERM or Ctrl-C has arrived; another Ctrl-C interrupts.

    Of several processes any one may be told, by SIGTERM, and all of them stop at the same step.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point  # JAX listens to SIGTERM, and passes it on
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and received:
            signal.default_int_handler(number, frame)
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield lambda _: bool(received)
        return
    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda _: bool(received)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
