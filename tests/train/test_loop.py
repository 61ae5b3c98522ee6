"""The loop on a tiny run: what every logged line holds, what is due when, a loss that blows up, and the console."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.metrics import MetricWriter, cut_back
from lm.data import prepare
from lm.train import setup
from lm.train.console import Console
from lm.train.defaults import pretrain
from lm.train.events import EVENTS
from lm.train.guard import Guard
from lm.train.loop import NONFINITE, Outlets, Task, train
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.telemetry import bits_per_byte

STEPS, LOG_EVERY, EVAL_EVERY, CHECKPOINT_EVERY = 11, 4, 5, 6


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("loop")
    for name in range(12):
        (folder / f"{name}.txt").write_text(f"document {name} says that a rose is a rose, {name} times over. " * 3)
    cfg = pretrain()
    cfg.data.path, cfg.data.validation = str(folder), 0.2
    cfg.tokenizer.kind = "char"
    cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.max_seq_len = 1, 16, 2, 8
    cfg.optimizer.peak_lr = 1e-3
    cfg.train.steps, cfg.train.batch_size = STEPS, 4
    cfg.train.log_every, cfg.train.eval_every, cfg.train.checkpoint_every = LOG_EVERY, EVAL_EVERY, CHECKPOINT_EVERY
    splits = prepare.Splits(cfg.data)
    made = folder.with_name("loop-made")
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, made / "tokenizer")
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, made / "shards")
    model, _ = setup.resolve(cfg, shards.vocab_size, made)
    return setup.make_task(cfg, model, shards)


class Run(NamedTuple):
    """What a run leaves behind."""

    lines: list[dict[str, Any]]
    checkpoints: list[int]
    console: str
    evaluated: list[int]


def open_writer(folder: Path, start: int) -> MetricWriter:
    cut_back(folder / "metrics.jsonl", start)
    return MetricWriter(folder / "metrics.jsonl")


def run(task: Task, folder: Path) -> Run:
    """Trains with an evaluator that gives the number of its call."""
    evaluated: list[int] = []

    def evaluate(params: Any) -> dict[str, float]:
        evaluated.append(len(jax.tree.leaves(params)))
        return {"val/loss": float(len(evaluated))}

    stream = io.StringIO()
    with Checkpoints(folder / "checkpoints", keep_last=STEPS) as checkpoints:
        outlets = Outlets(checkpoints, [evaluate], partial(open_writer, folder), Console(task.steps, stream), folder)
        _, step = train(task, outlets)
        assert step == task.steps
        steps = checkpoints.steps()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Run(lines, steps, stream.getvalue(), evaluated)


@pytest.fixture(scope="module")
def whole(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(task, tmp_path_factory.mktemp("whole"))


def test_every_line_has_the_figures_of_training(task: Task, whole: Run) -> None:
    """Evaluated steps too, whether or not they are due to be logged."""
    assert [line["step"] for line in whole.lines] == [1, 4, 5, 8, 10, 11]
    for line in whole.lines:
        assert math.isfinite(line["train/loss"])
        assert line["train/bits_per_byte"] == pytest.approx(line["train/loss"] / math.log(2) / task.bytes_per_token)
        assert line["tokens_per_second"] > 0
        assert 0 < line["mfu"] < 1
        assert line["train/grad_norm"] > 0
    assert {line["step"]: line["val/loss"] for line in whole.lines if "val/loss" in line} == {5: 1, 10: 2, 11: 3}
    assert whole.checkpoints == [6, 11]


def test_mfu_is_the_rate_over_the_peak(whole: Run) -> None:
    """The same factor for every line: FLOPs of a token over the machine's peak."""
    factors = [line["mfu"] / line["tokens_per_second"] for line in whole.lines]
    assert factors == pytest.approx([factors[0]] * len(factors))


def test_bits_per_byte_of_unknown_text_is_not_a_number() -> None:
    assert bits_per_byte(math.log(2), 0.5) == pytest.approx(2.0)
    assert math.isnan(bits_per_byte(3.0, 0.0))


def test_a_loss_that_blows_up_stops_the_run(task: Task, tmp_path: Path) -> None:
    """One line names the step and where the batch's documents stand; no checkpoint is made of what is broken."""
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e38
    wild = replace(task, optimizer=Optimizer.from_config(cfg, cosine(STEPS, 1, 0.1)), checkpoint_every=1)
    with pytest.raises(UserError) as stopped:
        run(wild, tmp_path)
    message = str(stopped.value)
    found = re.match(r"step (\d+): loss (\S+), gradient norm (\S+); the batch is examples (\d+) to (\d+)", message)
    assert found, message
    assert "\n" not in message
    assert str(tmp_path / NONFINITE) in message
    assert "optimizer.peak_lr" in message
    step, first, last = int(found[1]), int(found[4]), int(found[5])
    assert not math.isfinite(float(found[2])) or not math.isfinite(float(found[3]))
    assert (first, last) == (4 * (step - 1), 4 * step - 1)
    written = json.loads((tmp_path / NONFINITE).read_text())
    assert written == {"step": step, "batch": [task.examples.provenance(index) for index in range(first, last + 1)]}
    assert all(row["documents"] for row in written["batch"])
    assert Checkpoints(tmp_path / "checkpoints").steps() == list(range(1, step))
    assert all(line["step"] < step for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()))


@dataclass(frozen=True)
class Poisoned:
    """Examples, some of which weigh so much that no gradient of theirs is finite."""

    examples: Any
    bad: range

    def batch(self, *arguments: Any) -> dict[str, np.ndarray]:
        batch = self.examples.batch(*arguments)
        batch["loss_mask"][np.isin(batch["index"], list(self.bad))] *= np.inf
        return batch

    def provenance(self, index: int) -> dict[str, Any]:
        return self.examples.provenance(index)


def test_a_rollback_goes_around_what_broke_it(task: Task, tmp_path: Path) -> None:
    """Back to the checkpoint of step 6 from step 8; after that as if the examples between were not there."""
    bad = replace(task, examples=Poisoned(task.examples, range(29, 30)), guard=Guard("rollback"))
    found = run(bad, tmp_path / "bad")
    assert "step 8: loss" in found.console
    assert "back to step 6, examples 24 to 31 are left out" in found.console
    event = json.loads((tmp_path / "bad" / EVENTS).read_text())
    assert (event["event"], event["step"], event["to"], event["examples"]) == ("rollback", 8, 6, [24, 8])
    assert [line["step"] for line in found.lines][-1] == STEPS
    assert all(math.isfinite(line["train/loss"]) for line in found.lines)
    shifted = replace(task, examples=Moved(task.examples, 24, 8))
    wanted = run(shifted, tmp_path / "wanted")
    assert [line["train/loss"] for line in found.lines] == [line["train/loss"] for line in wanted.lines]


@dataclass(frozen=True)
class Moved:
    """Examples of which some are not there."""

    examples: Any
    first: int
    count: int

    def batch(self, first: int, *arguments: Any) -> dict[str, np.ndarray]:
        return self.examples.batch(first + self.count * (first >= self.first), *arguments)


def test_what_was_left_out_stays_so_when_the_run_goes_on(task: Task, tmp_path: Path) -> None:
    """The checkpoint knows; a second start takes the same batches."""
    bad = replace(task, examples=Poisoned(task.examples, range(29, 30)), guard=Guard("rollback"), checkpoint_every=3)
    whole = run(bad, tmp_path / "whole")
    run(replace(bad, steps=9), tmp_path / "parts")
    parts = run(bad, tmp_path / "parts")
    losses = {line["step"]: line["train/loss"] for line in parts.lines}
    assert losses == losses | {line["step"]: line["train/loss"] for line in whole.lines if line["step"] in (10, 11)}


def test_a_run_that_breaks_wherever_it_goes_stops(task: Task, tmp_path: Path) -> None:
    bad = replace(task, examples=Poisoned(task.examples, range(24, 1000)), guard=Guard("rollback", limit=2))
    with pytest.raises(UserError, match=r"step 7: loss .* the batch is examples 32 to 35"):
        run(bad, tmp_path)
    assert len((tmp_path / EVENTS).read_text().splitlines()) == 2


def test_an_update_that_is_not_finite_is_left_out(task: Task, tmp_path: Path) -> None:
    """The step counts; parameters and moments are those before it."""
    bad = replace(task, examples=Poisoned(task.examples, range(29, 30)), guard=Guard("skip"), log_every=1)
    found = run(bad, tmp_path)
    assert "step 8: loss" in found.console
    assert "its update is left out" in found.console
    losses = {line["step"]: line["train/loss"] for line in found.lines}
    assert [step for step, loss in losses.items() if loss is None or not math.isfinite(loss)] == [8]
    assert len(losses) == STEPS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


VALUES = {
    "train/loss": 1.25,
    "train/bits_per_byte": 1.8,
    "train/learning_rate": 3e-4,
    "tokens_per_second": 12_300.0,
    "mfu": 0.42,
}


def test_off_a_terminal_lines_come_seldom_but_first_and_last_always() -> None:
    stream = io.StringIO()
    console = Console(200, stream)
    for step in (1, 2, 3, 200):
        console.step(step, VALUES, seconds_left=75)
    console.evaluation(200, {"val/loss": 1.5, "val/code/loss": 1.25, "val/prose/loss": 1.75})
    first, last, evaluation = stream.getvalue().splitlines()
    assert first.startswith("step   1/200 ")
    for shown in ("loss 1.2500", "1.800 bits/byte", "3.00e-04", "12.3k tokens/s", "MFU 42 %", "ETA 1m15s"):
        assert shown in first
    assert last.startswith("step 200/200 ")
    assert evaluation == "step 200/200  val/loss 1.5000"
    assert "\x1b" not in stream.getvalue()


def test_no_time_is_given_before_a_rate_without_compilation(whole: Run, task: Task, tmp_path: Path) -> None:
    """The first line of a run, and of one that goes on, measures compilation."""
    first, *others = [line for line in whole.console.splitlines() if "tokens/s" in line]
    assert "ETA" not in first
    assert others
    assert all("ETA" in line for line in others)
    run(replace(task, steps=CHECKPOINT_EVERY), tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    console = run(task, tmp_path).console
    assert console.startswith(f"resuming at step {CHECKPOINT_EVERY}")
    assert [line["step"] for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())] == [
        *(8, 10, 11)
    ]
    shown = {line.split("/")[0]: line for line in console.splitlines() if "tokens/s" in line}
    assert "ETA" not in shown["step  8"]
    assert "ETA 0s" in shown["step 11"]


def test_on_a_terminal_every_step_rewrites_the_line_and_notes_stay() -> None:
    stream = Terminal()
    console = Console(200, stream)
    for step in (1, 2, 3):
        console.step(step, VALUES, seconds_left=75)
    console.note("saved")
    console.note("again")
    console.step(4, VALUES, seconds_left=75)
    head, *rest = stream.getvalue().split("\n")
    assert [part.split("/")[0] for part in head.split("\r\x1b[K")] == ["", "step   1", "step   2", "step   3"]
    assert rest[:2] == ["saved", "again"]
    assert rest[2].startswith("\r\x1b[Kstep   4/200")


def test_the_console_shows_the_run(whole: Run) -> None:
    assert whole.console.startswith("step  1/11 ")
    assert "step 11/11  loss" in whole.console
    assert [line for line in whole.console.splitlines() if "val/loss" in line] == [
        "step  5/11  val/loss 1.0000",
        "step 10/11  val/loss 2.0000",
        "step 11/11  val/loss 3.0000",
    ]
