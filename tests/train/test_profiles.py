"""Profiles of a run: at steps that were said and when asked, each a file that XProf reads; programs found again."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lm.common import buckets
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.metrics import MetricWriter
from lm.data import prepare
from lm.train import defaults, setup
from lm.train.console import Console
from lm.train.events import EVENTS
from lm.train.loop import Outlets, Task, train
from lm.train.profiles import FOLDER, REQUEST, Profiler

STEPS = 12


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "a.txt").write_text("a rose is a rose is a rose " * 40)
    cfg = defaults.pretrain()
    cfg.data.path, cfg.data.validation, cfg.tokenizer.kind = str(folder), 0.0, "char"
    cfg.model.update(n_layers=1, d_model=16, n_heads=2, max_seq_len=8)
    cfg.optimizer.peak_lr = 1e-3
    cfg.train.update(steps=STEPS, batch_size=4, log_every=2, checkpoint_every=0, profile_steps=(3,), profile_length=2)
    splits = prepare.Splits(cfg.data)
    made = folder.with_name("profiles-made")
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, made / "tokenizer")
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, made / "shards")
    model, _ = setup.resolve(cfg, shards.vocab_size, made)
    return setup.make_task(cfg, model, shards)


class Asking(Console):
    """Asks for a profile when a step's line is shown, as a person who watches would."""

    def __init__(self, directory: Path, stream: io.StringIO) -> None:
        super().__init__(STEPS, stream)
        self._directory = directory

    def step(self, step: int, values: Any, seconds_left: float | None) -> None:
        super().step(step, values, seconds_left)
        if step in (4, 8):
            (self._directory / REQUEST).touch()


def planes(folder: Path) -> list[str]:
    """Reads what every process wrote below a profile's folder, and returns the names of its planes."""
    (path,) = folder.rglob("*.xplane.pb")
    return [plane.name for plane in jax.profiler.ProfileData.from_file(str(path)).planes]


def test_a_run_is_profiled_at_its_steps_and_whenever_it_is_asked(task: Task, tmp_path: Path) -> None:
    """One that was said, and two that were asked for; each is told, can be read, and changes no loss."""
    losses = {}
    for name in ("plain", "profiled"):
        folder, stream = tmp_path / name, io.StringIO()
        folder.mkdir()
        console = Asking(folder, stream) if name == "profiled" else Console(STEPS, stream)
        run = task if name == "profiled" else replace(task, profile_steps=())
        with Checkpoints(folder / "checkpoints") as checkpoints:
            open_writer = partial(lambda path, _: MetricWriter(path), folder / "metrics.jsonl")
            train(run, Outlets(checkpoints, [], open_writer, console, folder))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [line["train/loss"] for line in lines]
    assert losses["plain"] == losses["profiled"]
    assert not (tmp_path / "plain" / FOLDER).exists()
    assert not (folder / REQUEST).exists()
    happened = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    assert [event["event"] for event in happened] == ["profile"] * 3
    assert happened[0]["steps"] == [3, 4]
    assert all(last - first == 1 for first, last in (event["steps"] for event in happened))
    for event in happened:
        assert any(name.startswith("/host:CPU") for name in planes(folder / event["path"]))
        assert f"steps {event['steps'][0]} to {event['steps'][1]} are profiled in {folder}" in stream.getvalue()


def follow(profiler: Profiler, steps: int) -> None:
    @contextmanager
    def paused(_: str) -> Any:
        yield

    for step in range(1, steps + 1):
        profiler.after(step, jnp.zeros(()), paused, logged=step % 2 == 0, last=step == steps)


def test_one_that_is_asked_for_in_a_bucket_is_taken_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is looked for under the address that the directory is a copy of, and taken away."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/run/profile", b"")
    monkeypatch.setattr(buckets, "origin", lambda _: "gs://bucket/run")
    monkeypatch.setattr(buckets, "connect", lambda _: (files, "/bucket/run"))
    told: list[str] = []
    with Profiler(tmp_path, (), 1, told.append) as profiler:
        follow(profiler, 4)
    assert len(told) == 1
    assert not files.exists("/bucket/run/profile")


def test_a_run_that_ends_within_one_keeps_it_and_leaves_none_open(tmp_path: Path) -> None:
    told: list[str] = []
    with Profiler(tmp_path, (3,), 100, told.append) as profiler:
        follow(profiler, 4)
    assert told == [f"steps 3 to 4 are profiled in {tmp_path / FOLDER / 'step_3'}"]
    with Profiler(tmp_path, (2,), 9, told.append) as profiler:  # as where a loss stops it
        profiler.after(1, jnp.zeros(()), lambda _: nullcontext(), logged=False, last=False)
    with jax.profiler.trace(tmp_path / "free"):  # no other is open
        pass


def test_steps_that_compile_are_refused(tmp_path: Path) -> None:
    cfg = defaults.pretrain()
    cfg.train.profile_steps = (1, 5)
    with pytest.raises(UserError, match=r"^train.profile_steps=.*from 2 on"):
        setup.resolve(cfg, 32, tmp_path)


def test_a_second_start_finds_the_programs_of_the_first(lm: Any, tmp_path: Path, text_file: Path) -> None:
    cache = tmp_path / "programs"

    def found(name: str) -> tuple[float, float]:
        lm(
            *("pretrain", "--config=configs/pretrain/tiny.py:smoke", f"--workdir={tmp_path / name}"),
            *(f"--config.data.path={text_file}", f"--config.train.compilation_cache={cache}", "--config.train.steps=2"),
        )
        line = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])
        assert line["compile_seconds"] > 0
        return line["compile_cache/found"], line["compile_cache/missed"]

    first, second = found("first"), found("second")
    assert first[1] > 0
    assert second[0] > 0
    assert second[1] == 0
    assert any(cache.iterdir())
