"""Metrics: always `metrics.jsonl`, one JSON object per step; TensorBoard and Weights & Biases where asked for.

A line is `{"step": 10, "train/loss": 3.2, ...}` with steps strictly rising. JSON has no NaN and no infinity, so a
value that is not finite is written as null, and read back as NaN.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lm.common import buckets, manifest
from lm.common.errors import UserError


class Sink(Protocol):
    """A further place that metrics go to: TensorBoard's and Weights & Biases' writers, seen alike."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class MetricWriter:
    """Writes what belongs to a step as one line, however many calls it comes in.

    `path` is the JSONL file; `resume_step` is the step a run resumes from (see `cut_back`), so that TensorBoard
    drops what it has beyond. `wandb` is the project to report to, `run` its settings as Weights & Biases shows them.
    """

    def __init__(
        self,
        path: Path,
        *,
        tensorboard: Path | None = None,
        wandb: str | None = None,
        run: Mapping[str, Any] | None = None,
        resume_step: int = 0,
    ) -> None:
        self._sinks: list[Sink] = []
        if wandb is not None:  # first, for it is the one that may be refused
            self._sinks.append(_WeightsAndBiases(wandb, run or {}, path.parent))
        if tensorboard is not None:
            self._sinks.append(_TensorBoard(tensorboard, resume_step))
        if buckets.origin(path.parent) is not None:
            self._sinks.append(_Bucket(path.parent))  # last: it sends what the others wrote
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._newest = max((line["step"] for line in read_metrics(path)), default=-1)
        cut_back(path, self._newest)  # a torn last line would swallow the next one
        self._stream = path.open("a", encoding="utf-8")
        self._step: int | None = None
        self._values: dict[str, float] = {}

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values to a step's line, which is written when a later step arrives, or on `flush`."""
        assert "step" not in values, "step is the line's own key"
        if step != self._step:
            self._emit()
            assert step > self._newest, f"step {step} after {self._newest}: a step's line is written already"
            self._step = step
        self._values.update({name: float(value) for name, value in values.items()})

    def flush(self) -> None:
        """Ends the line under way and returns once all lines are on disk, to survive a power cut."""
        self._emit()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        for sink in self._sinks:
            sink.flush()

    def close(self) -> None:
        """Flushes and closes every file."""
        if not self._stream.closed:
            self.flush()
            self._stream.close()
            for sink in self._sinks:
                sink.close()

    def _emit(self) -> None:
        if self._step is None:
            return
        self._stream.write(_line(self._step, self._values))
        self._stream.flush()  # so that whoever watches the file sees whole lines, and kill -9 loses none
        for sink in self._sinks:
            sink.write(self._step, self._values)
        self._newest, self._step, self._values = self._step, None, {}


class Unwritten:
    """Stands for a `MetricWriter` in a process that leaves writing to the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Unwritten:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a metrics file, oldest first, nulls as NaN; no file is no lines.

    A last line torn by a kill is left out.

    Raises:
        UserError: a line other than the last one that is not a metrics line.
    """
    return [line for line, _ in _parse(path)] if path.is_file() else []


def cut_back(path: Path, step: int) -> None:
    """Drops every line after `step`, and a torn last one, in one atomic replacement; no file is nothing to cut.

    Raises:
        UserError: a line other than the last one that is not a metrics line.
    """
    if path.is_file():
        manifest.write_atomic(path, b"".join(raw for line, raw in _parse(path) if line["step"] <= step))


def _line(step: int, values: Mapping[str, float]) -> str:
    plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps({"step": step, **plain}, allow_nan=False) + "\n"


def _parse(path: Path) -> list[tuple[dict[str, Any], bytes]]:
    lines = path.read_bytes().splitlines(keepends=True)
    parsed = []
    for number, raw in enumerate(lines, start=1):
        try:
            line = json.loads(raw)
            if not isinstance(line, dict) or not isinstance(line.get("step"), int) or not raw.endswith(b"\n"):
                raise ValueError("not a metrics line")
        except ValueError as error:
            if number == len(lines) and not raw.endswith(b"\n"):
                break
            raise UserError(f"{path}:{number}: {error}; remove the line, or the run's directory") from error
        parsed.append(({name: math.nan if value is None else value for name, value in line.items()}, raw))
    return parsed


class _TensorBoard:
    def __init__(self, directory: Path, resume_step: int) -> None:
        from tensorboardX import SummaryWriter

        # TensorBoard shows nothing of earlier event files from purge_step on
        self._writer = SummaryWriter(str(directory), purge_step=resume_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Bucket:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, step: int, values: Mapping[str, float]) -> None:
        pass  # objects cannot be added to

    def flush(self) -> None:
        buckets.push(self._directory)

    def close(self) -> None:
        buckets.push(self._directory)


class _WeightsAndBiases:
    def __init__(self, project: str, config: Mapping[str, Any], directory: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                f"Weights & Biases is asked for (project {project}) but not installed; pip install 'lm[wandb]'"
            ) from error
        name = manifest.fingerprint(str(directory.absolute()))
        self._run = wandb.init(
            project=project, id=name, name=directory.name, dir=str(directory), config=dict(config), resume="allow"
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        pass  # it sends from a process of its own

    def close(self) -> None:
        self._run.finish()
