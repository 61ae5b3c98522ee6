"""metrics.jsonl: one line a step, whole lines only, cut back to where a run resumes."""

from __future__ import annotations

import builtins
import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.common.metrics import MetricWriter, cut_back, read_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "metrics.jsonl"


def write_steps(path: Path, *steps: int) -> None:
    with MetricWriter(path) as writer:
        for step in steps:
            writer.write(step, {"train/loss": step / 8})


def test_writes_of_one_step_are_one_line_in_the_order_of_steps(path: Path) -> None:
    with MetricWriter(path) as writer:
        writer.write(1, {"train/loss": 3})
        writer.write(1, {"mfu": 0.25})
        assert read_metrics(path) == []
        writer.write(2, {"train/loss": 2.5})
        assert path.read_text() == '{"step": 1, "train/loss": 3.0, "mfu": 0.25}\n'
        writer.write(2, {"val/loss": 2.75})
    assert read_metrics(path) == [
        {"step": 1, "train/loss": 3.0, "mfu": 0.25},
        {"step": 2, "train/loss": 2.5, "val/loss": 2.75},
    ]


def test_flush_ends_the_line_and_syncs_it_to_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    sync = os.fsync
    with MetricWriter(path) as writer:
        monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_size), sync(fd)))
        writer.write(1, {"train/loss": 3.0})
        writer.flush()
        assert synced == [path.stat().st_size]
        assert [line["step"] for line in read_metrics(path)] == [1]
        with pytest.raises(AssertionError, match="step 1 after 1"):
            writer.write(1, {"val/loss": 3.0})
        writer.flush()
    assert len(path.read_text().splitlines()) == 1


def test_a_step_can_neither_come_twice_nor_go_back(path: Path) -> None:
    write_steps(path, 1, 5)
    with MetricWriter(path) as writer:
        for step in (5, 4):
            with pytest.raises(AssertionError, match=f"step {step} after 5"):
                writer.write(step, {"x": 1.0})
        writer.write(6, {"x": 1.0})
    assert [line["step"] for line in read_metrics(path)] == [1, 5, 6]


def test_what_is_not_finite_is_null_and_reads_as_nan(path: Path) -> None:
    with MetricWriter(path) as writer:
        writer.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse) == {"step": 1, "a": None, "b": None, "c": None, "d": 1}
    line = read_metrics(path)[0]
    assert all(math.isnan(line[name]) for name in "abc")
    assert line["d"] == 1.0


def test_floats_come_back_exactly(path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": 1e-300, "c": float.fromhex("0x1.fffffep+127"), "d": -0.0}
    with MetricWriter(path) as writer:
        writer.write(1, values)
    line = read_metrics(path)[0]
    assert {name: line[name].hex() for name in values} == {name: value.hex() for name, value in values.items()}


@pytest.mark.parametrize(("step", "left"), [(0, []), (1, [1]), (4, [1, 3]), (5, [1, 3, 5]), (9, [1, 3, 5])])
def test_cut_back_drops_what_comes_after_and_leaves_the_rest_byte_for_byte(
    path: Path, step: int, left: list[int]
) -> None:
    write_steps(path, 1, 3, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    cut_back(path, step)
    assert path.read_bytes() == b"".join(lines[: len(left)])
    assert [line["step"] for line in read_metrics(path)] == left
    assert list(path.parent.iterdir()) == [path]


def test_a_line_torn_anywhere_is_left_out_and_never_continued(path: Path) -> None:
    write_steps(path, 1, 2)
    whole = path.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    for length in range(len(first), len(whole)):
        path.write_bytes(whole[:length])
        assert [line["step"] for line in read_metrics(path)] == [1]
        cut_back(path, 10)
        assert path.read_bytes() == first
        path.write_bytes(whole[:length])
        write_steps(path, 2)
        assert path.read_bytes() == whole


def test_cutting_back_or_reading_what_is_not_there_is_nothing(path: Path) -> None:
    cut_back(path, 3)
    assert read_metrics(path) == []
    assert not path.exists()


@pytest.mark.parametrize("line", ["{oops", "[1]", '{"loss": 1}', '{"step": "1"}'])
def test_a_bad_line_that_is_not_the_last_is_named(path: Path, line: str) -> None:
    write_steps(path, 1)
    good = path.read_text()
    path.write_text(good + line + "\n" + good.replace("1,", "2,"))
    for attempt in (lambda: read_metrics(path), lambda: cut_back(path, 1), lambda: MetricWriter(path)):
        with pytest.raises(UserError, match=r"metrics\.jsonl:2: ") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def read_tensorboard(directory: Path) -> list[tuple[str, int, float]]:
    """Returns `(name, step, value)` of the event files, as TensorBoard shows them: purged steps are gone."""
    from tensorboardX.proto import event_pb2

    shown: list[tuple[str, int, float]] = []
    for file in sorted(directory.iterdir()):
        raw, position = file.read_bytes(), 0
        while position < len(raw):  # a TFRecord: length, its CRC, data, its CRC
            length = int.from_bytes(raw[position : position + 8], "little")
            event = event_pb2.Event.FromString(raw[position + 12 : position + 12 + length])
            position += length + 16
            if event.HasField("session_log") and event.session_log.status == event_pb2.SessionLog.START:
                shown = [entry for entry in shown if entry[1] < event.step]
            shown += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return shown


def test_tensorboard_shows_each_step_once_after_a_resume(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", itertools.count(1000).__next__)  # event files are named by the second
    board = tmp_path / "tensorboard"
    with MetricWriter(path, tensorboard=board) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"train/loss": step, "mfu": 0.5})
    cut_back(path, 2)
    with MetricWriter(path, tensorboard=board, resume_step=2) as writer:
        writer.write(3, {"train/loss": 30.0})
    assert read_tensorboard(board) == [
        ("train/loss", 1, 1.0),
        ("mfu", 1, 0.5),
        ("train/loss", 2, 2.0),
        ("mfu", 2, 0.5),
        ("train/loss", 3, 30.0),
    ]


def test_weights_and_biases_asked_for_but_missing_is_named_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without_wandb(name: str, *rest: Any, **options: Any) -> Any:
        if name == "wandb":
            raise ImportError(name)
        return real_import(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_wandb)
    with pytest.raises(UserError, match=r"project mine\) but not installed; pip install 'lm\[wandb\]'"):
        MetricWriter(path, wandb="mine")
    assert not path.exists()


def test_weights_and_biases_gets_every_step_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class FakeRun:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((step, values))

        def finish(self) -> None:
            calls.append("finished")

    class FakeWandb:
        @staticmethod
        def init(**settings: Any) -> FakeRun:
            calls.append(settings)
            return FakeRun()

    monkeypatch.setitem(__import__("sys").modules, "wandb", FakeWandb)
    ids = []
    for step in (1, 2):  # a second start of the same run reports to the same page
        with MetricWriter(path, wandb="mine", run={"model": {"d_model": 8}}) as writer:
            writer.write(step, {"a": 1.0})
            writer.write(step, {"b": 2.0})
        settings, logged, finished = calls
        assert (settings["project"], settings["config"], settings["resume"]) == (
            "mine",
            {"model": {"d_model": 8}},
            "allow",
        )
        assert logged == (step, {"a": 1.0, "b": 2.0})
        assert finished == "finished"
        ids.append(settings["id"])
        calls.clear()
    assert ids[0] == ids[1]
