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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

STEPS, CHECKPOINT_EVERY = 120, 10
ONE_IS_SAVED = 2 * CHECKPOINT_EVERY + 1  # once this step is logged: the second save has waited for the first
ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120


# The command line, but for the first step: it says that it compiles, and does so until it is killed.
COMPILING = "the step is being compiled"
COMPILE_FOREVER = f"""
import sys
from lm import cli
from lm.train import loop

make_step = loop.make_step

def compile_forever(*arguments, **options):
    step = make_step(*arguments, **options)
    def call(state, batch):
        print({COMPILING!r}, flush=True)
        while True:
            step.lower(state, batch).compile()
    return call

loop.make_step = compile_forever
sys.exit(cli.main(sys.argv[1:]))
"""


def start(text: Path, workdir: Path, *, program: Sequence[str] = ("-m", "lm.cli")) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, *program, "pretrain", "--config=configs/pretrain/tiny.py:smoke"),
        *(f"--config.data.path={text}", f"--workdir={workdir}", f"--config.train.steps={STEPS}"),
        *(f"--config.train.checkpoint_every={CHECKPOINT_EVERY}", "--config.train.eval_every=40"),
        *("--config.train.log_every=1", "--config.tokenizer.vocab_size=300", "--config.model.dropout=0.1"),
        "--config.sample.max_new_tokens=2",
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


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


def kill(process: subprocess.Popen[str]) -> str:
    """Kills a process that has not ended yet, and returns what it printed."""
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"ended before the kill:\n{output}"
    return output


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


def killed_in_compilation(text: Path, workdir: Path) -> None:
    """The step is being compiled: the facts are written, no step is logged."""
    process = start(text, workdir, program=("-c", COMPILE_FOREVER))
    assert process.stdout is not None
    assert any(COMPILING in line for line in process.stdout), "ended without compiling a step"
    kill(process)
    assert (workdir / "config.json").exists()
    assert not lines(workdir)


def killed_in_a_step(text: Path, workdir: Path) -> None:
    """Between two checkpoints, steps running."""
    process = start(text, workdir)
    wait_for(process, lambda: steps_done(workdir) >= ONE_IS_SAVED + 5)
    kill(process)


def killed_in_a_save(text: Path, workdir: Path) -> None:
    """A later checkpoint is half written: held still to make sure of it, and let go until it is."""
    process = start(text, workdir)
    while True:
        wait_for(process, lambda: steps_done(workdir) >= ONE_IS_SAVED and bool(half_written(workdir)))
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if half_written(workdir):
            break
        process.send_signal(signal.SIGCONT)
    kill(process)
    assert half_written(workdir)


@pytest.mark.parametrize("killed", [killed_in_compilation, killed_in_a_step, killed_in_a_save])
def test_kill_at_a_chosen_moment(
    whole_run: tuple[Path, Path], tmp_path: Path, killed: Callable[[Path, Path], None]
) -> None:
    text, whole = whole_run
    workdir = tmp_path / "run"
    killed(text, workdir)
    resumed = "resuming at step" in finish(start(text, workdir))
    assert resumed == (killed is not killed_in_compilation)
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


def files(workdir: Path) -> int:
    return sum(path.is_file() for path in workdir.rglob("*"))


def killed_at_random(text: Path, workdir: Path, seed: int, kills: int) -> None:
    """First while tokenizer and shards are made, then ever later in training, so that every start gets somewhere."""
    rng = random.Random(seed)
    first = rng.randint(1, 6)
    later = sorted(rng.sample(range(ONE_IS_SAVED, STEPS - 20), kills - 1))
    moments = [lambda: files(workdir) >= first, *(partial(lambda n: steps_done(workdir) >= n, n) for n in later)]
    starts = []
    for moment in moments:
        process = start(text, workdir)
        wait_for(process, moment)
        starts.append(kill(process))
    starts.append(finish(start(text, workdir)))
    assert not any("resuming" in output for output in starts[:2])
    assert "resuming at step" in starts[-1]


@pytest.mark.slow
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
