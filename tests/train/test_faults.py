"""What goes wrong under two processes is told in one line, by all of them, and loses no step that was saved."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from benchmarks import jobs

KEYS = {"train.steps": 8, "train.checkpoint_every": 3, "mesh.fsdp": 2, "cluster.heartbeat_seconds": 20}
SECOND_SAVE = ("lm.common.checkpoint", "Checkpoints.save", "2", "before")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A text, and a run over it on one device that nothing goes wrong with."""
    folder = tmp_path_factory.mktemp("faults")
    text = jobs.write_text(folder / "text.txt")
    jobs.run(text, folder / "alone", KEYS | {"mesh.fsdp": 1})
    return text, folder / "alone"


def failed(processes: list[subprocess.Popen[str]], first: int = 0) -> list[str]:
    """Waits for a process to fail as a user's mistake does and for the others to end; returns what each printed."""
    outputs = {first: processes[first].communicate(timeout=jobs.WAIT_SECONDS)[0]}
    assert processes[first].returncode == 2, outputs[first]
    for number, process in enumerate(processes):
        if number != first:
            outputs[number] = process.communicate(timeout=jobs.WAIT_SECONDS)[0]
            assert process.returncode != 0, outputs[number]
    return [outputs[number] for number in range(len(processes))]


def steps(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "struck"),
    [("full disk", (0,)), ("full disk", (1,)), ("full disk", (0, 1)), ("read-only", (0,)), ("read-only", (0, 1))],
    ids=str,
)
def test_what_cannot_be_saved_loses_nothing(
    alone: tuple[Path, Path], tmp_path: Path, fault: str, struck: tuple[int, ...]
) -> None:
    """At the second save, in one process or both; the first checkpoint stays, and the same command goes on from it."""
    text, whole = alone
    workdir = tmp_path / "run"
    faulty = ("-m", "tests.train.inject", fault, *SECOND_SAVE)
    programs = [faulty if number in struck else ("-m", "lm.cli") for number in range(2)]
    outputs = failed(jobs.start(text, workdir, KEYS, processes=2, devices=2, programs=programs), struck[0])
    line = outputs[struck[0]].splitlines()[-1]
    assert line.startswith(f"lm pretrain: {workdir / 'checkpoints'}: checkpoint 6 could not be written ("), line
    assert line.endswith("make room, and run the same command again: it resumes from checkpoint 3")
    assert "Traceback" not in outputs[struck[0]]
    (workdir / "checkpoints").chmod(0o755)
    assert steps(workdir) == ["3"]
    again = jobs.run(text, workdir, KEYS, processes=2, devices=2)
    assert "resuming at step 3" in again[0]
    jobs.assert_same_training(workdir, whole)


@pytest.mark.slow
def test_flipped_bits_are_found_by_all(alone: tuple[Path, Path], tmp_path: Path) -> None:
    """Every process names them and stops; told so, all of them go back to the checkpoint before."""
    text, whole = alone
    workdir = tmp_path / "run"
    killed = ("-m", "tests.train.inject", "kill", "lm.common.checkpoint", "Checkpoints.wait", "3", "after")
    both = jobs.start(text, workdir, KEYS, processes=2, devices=2, programs=[killed, ("-m", "lm.cli")])
    for process in both:  # at the third save, when the second is there
        process.communicate(timeout=jobs.WAIT_SECONDS)
    assert steps(workdir) == ["3", "6"]
    files = [path for path in (workdir / "checkpoints" / "6" / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    raw, rng = bytearray(largest.read_bytes()), random.Random(0)
    for _ in range(3):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    largest.write_bytes(bytes(raw))
    outputs = failed(jobs.start(text, workdir, KEYS, processes=2, devices=2))
    for output in outputs:
        assert "Traceback" not in output
        assert f"{workdir / 'checkpoints' / '6'}: " in output.splitlines()[-1]
        assert "--config.train.restore_fallback=True" in output.splitlines()[-1]
    jobs.run(text, workdir, KEYS | {"train.restore_fallback": True}, processes=2, devices=2)
    jobs.assert_same_training(workdir, whole)


def test_a_mesh_that_does_not_divide(tmp_path: Path) -> None:
    text = jobs.write_text(tmp_path / "text.txt")
    outputs = failed(jobs.start(text, tmp_path / "run", KEYS | {"mesh.data": 3}, processes=2, devices=2))
    assert "mesh" in outputs[0].splitlines()[-1]
    assert "process 0 could not go on" in outputs[1].splitlines()[-1]
    assert "Traceback" not in "".join(outputs)
    assert not (tmp_path / "run").exists()
