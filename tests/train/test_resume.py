"""Stopped anywhere and started again, a run's losses equal an uninterrupted run's bit for bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

STEPS, CHECKPOINT_EVERY = 120, 10
ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120


def start(text: Path, workdir: Path, *, compile_anew: bool = False) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "lm.cli", "pretrain", "--config=configs/pretrain/tiny.py:smoke"),
        *(f"--config.data.path={text}", f"--workdir={workdir}", f"--config.train.steps={STEPS}"),
        *(f"--config.train.checkpoint_every={CHECKPOINT_EVERY}", "--config.train.eval_every=40"),
        *("--config.train.log_every=1", "--config.tokenizer.vocab_size=300", "--config.model.dropout=0.1"),
        "--config.sample.max_new_tokens=2",
    ]
    environment = {name: value for name, value in os.environ.items() if not (compile_anew and "CACHE" in name)}
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, output
    return output


def lines(workdir: Path) -> list[dict]:
    path = workdir / "metrics.jsonl"
    whole = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in whole if line.endswith("\n")]


def trace(workdir: Path) -> list[tuple]:
    """Everything logged that does not depend on the clock."""
    names = ("step", "train/loss", "train/grad_norm", "train/learning_rate", "val/loss", "val/bits_per_byte")
    return [tuple(line.get(name) for name in names) for line in lines(workdir)]


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Polls as fast as it can, so that what is waited for is still going on when this returns."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process.poll() is None, f"ended before the moment came:\n{process.communicate()[0]}"
        assert time.monotonic() < deadline, "the moment never came"


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A text, and a run over it that nothing interrupts."""
    folder = tmp_path_factory.mktemp("resume")
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(200)]
    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(rng.choices(words, k=8)) for _ in range(900)))
    finish(start(text, folder / "whole"))
    return text, folder / "whole"


def half_written(workdir: Path) -> list[Path]:
    return list((workdir / "checkpoints").glob("*tmp*")) if (workdir / "checkpoints").is_dir() else []


def steps_done(workdir: Path) -> int:
    done = lines(workdir)
    return done[-1]["step"] if done else 0


def in_compilation(process: subprocess.Popen[str], workdir: Path) -> None:
    """The step is being compiled: the facts are written, no step is logged."""
    wait_for(process, (workdir / "config.json").exists)
    time.sleep(0.5)
    assert not lines(workdir), "a step was done before the kill"


def in_a_step(process: subprocess.Popen[str], workdir: Path) -> None:
    """Between two checkpoints, steps running."""
    wait_for(process, lambda: steps_done(workdir) >= CHECKPOINT_EVERY + 5)


def in_a_save(process: subprocess.Popen[str], workdir: Path) -> None:
    """A later checkpoint is half written."""
    begin = steps_done(workdir)
    wait_for(process, lambda: steps_done(workdir) > begin + CHECKPOINT_EVERY and bool(half_written(workdir)))


MOMENTS = [in_compilation, in_a_step, in_a_save]


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_at_a_chosen_moment(whole_run: tuple[Path, Path], tmp_path: Path, moment: Callable) -> None:
    text, whole = whole_run
    workdir = tmp_path / "run"
    process = start(text, workdir, compile_anew=moment is in_compilation)
    moment(process, workdir)
    kill(process)
    if moment is in_a_save:
        assert half_written(workdir), "the save was over before the kill arrived"
    finish(start(text, workdir))
    assert trace(workdir) == trace(whole)
    assert not half_written(workdir)


def test_sigterm_saves_and_exits_cleanly(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    """The checkpoint is of the very step it stopped at, and nothing but the command is needed to go on."""
    text, whole = whole_run
    workdir = tmp_path / "run"
    process = start(text, workdir)
    wait_for(process, lambda: steps_done(workdir) >= 23)
    process.terminate()
    output = finish(process)
    stopped = steps_done(workdir)
    assert f"stopped at step {stopped} by signal" in output
    assert (workdir / "checkpoints" / str(stopped)).is_dir()
    assert not (workdir / "manifest.json").exists()
    assert f"resuming at step {stopped}" in finish(start(text, workdir))
    assert trace(workdir) == trace(whole)


def killed_at_random(text: Path, workdir: Path, seed: int, kills: int) -> None:
    rng = random.Random(seed)
    for _ in range(kills):
        process = start(text, workdir)
        time.sleep(rng.uniform(0.5, 8.0))
        process.kill()
        process.communicate()
    finish(start(text, workdir))


def test_kills_at_random_moments(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    text, whole = whole_run
    killed_at_random(text, tmp_path / "run", seed=int(os.environ.get("LM_TEST_SEED", "0")), kills=3)
    assert trace(tmp_path / "run") == trace(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_kills_at_random_moments(whole_run: tuple[Path, Path], tmp_path: Path, seed: int) -> None:
    text, whole = whole_run
    killed_at_random(text, tmp_path / "run", seed, kills=5)
    assert trace(tmp_path / "run") == trace(whole)


def test_a_finished_run_is_left_alone(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    text, whole = whole_run
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert "finished already" in finish(start(text, copy))
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_no_step_stands_twice(whole_run: tuple[Path, Path]) -> None:
    _, whole = whole_run
    assert [line["step"] for line in lines(whole)] == list(range(1, STEPS + 1))
