"""Every task is run once, what it raises is raised, and nobody waits for a worker that is dead."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.data.curate import executors
from lm.data.curate.executors import Phase, Reported, Watch
from lm.data.curate.job import Job
from lm.data.curate.phases import Prepare
from lm.data.curate.read import Options, list_files

NO_OP, FAILS = slice, divmod  # callables of three arguments that workers can import; the second takes but two
RAY = pytest.param("ray", marks=pytest.mark.slow)


def run(phases: list[Phase], folder: Path, executor: str, workers: int) -> bool:
    cfg = executors.defaults()
    cfg.executor, cfg.workers = executor, workers
    return executors.run(phases, cfg, folder / "logs", lambda phase: nullcontext())


def a_job(folder: Path) -> tuple[Job, int]:
    """Returns a job of two files, each a unit."""
    (folder / "in").mkdir()
    for name in "ab":
        (folder / "in" / f"{name}.txt").write_text("text " * (1 << 14))
    job = Job(folder / "out", "", Options(), (), None, (), 0)
    return job, job.write_units(list_files(str(folder / "in")))


@pytest.mark.parametrize("executor", ["local", RAY])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_run(tmp_path: Path, executor: str, workers: int) -> None:
    phases = [Phase(name, Reported(NO_OP, tmp_path / name), 5) for name in ("one", "two")]
    assert run(phases, tmp_path, executor, workers)
    for name in ("one", "two"):
        found = {path.name: path.read_text() for path in (tmp_path / name).iterdir()}
        assert found == {f"{rank:05d}": "done\n" for rank in range(5)}


@pytest.mark.parametrize(
    ("executor", "raised"), [("local", TypeError), pytest.param("ray", RuntimeError, marks=RAY.marks)]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_ours_is_raised_as_one(tmp_path: Path, executor: str, raised: Any, workers: int) -> None:
    later = Phase("later", Reported(NO_OP, tmp_path / "later"), 1)
    with pytest.raises(raised, match="divmod"):
        run([Phase("fails", FAILS, 4), later], tmp_path, executor, workers)
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize("executor", ["local", RAY])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_user_s_mistake_is_raised_as_one(tmp_path: Path, executor: str, workers: int) -> None:
    job, n_units = a_job(tmp_path)
    assert n_units == 2
    missing = tmp_path / "in" / "b.txt"
    missing.unlink()
    with pytest.raises(UserError, match="cannot be opened"):
        run([Phase("prepare", Prepare(job), n_units)], tmp_path, executor, workers)
    missing.write_text("text " * (1 << 14))
    assert run([Phase("prepare", Prepare(job), n_units)], tmp_path, executor, workers)  # past failures are past


def test_units_stay_as_they_were_divided(tmp_path: Path) -> None:
    job, n_units = a_job(tmp_path)
    files = list_files(str(tmp_path / "in"))
    assert [file for rank in range(n_units) for file in job.unit(rank)] == list(files)
    assert job.write_units(files) == n_units
    with pytest.raises(UserError, match="another version"):
        job.write_units(files[:1])


def test_a_watch_looks_once_more_at_the_end() -> None:
    looks: list[int] = []
    with Watch(lambda: looks.append(1), seconds=1000):
        assert looks == []
    assert looks == [1]
