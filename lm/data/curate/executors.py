"""Runs the phases of a job on this machine, on Ray or under Slurm, by datatrove's executors.

A phase is a callable `(data, rank, world_size)`: datatrove's own form, in which rank is a unit of work. What a phase
writes depends on the unit alone, so it does not matter which executor runs it, with how many workers, or twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lm.common.errors import UserError

Run = Callable[[Any, int, int], None]
EXECUTORS = ("local", "ray", "slurm")


@dataclass(frozen=True)
class Phase:
    """One pass over so many tasks; it begins when the phase before it has ended."""

    name: str
    run: Run
    tasks: int


def defaults() -> ConfigDict:
    """Returns the keys that say where the work is done; none of them changes what comes out."""
    return ConfigDict(
        {
            "executor": "local",  # or ray (RAY_ADDRESS names the cluster, else one is started here), or slurm
            "workers": 0,  # tasks at a time; 0 is one a core (local, ray) or no limit (slurm)
            "slurm": {
                "time": "24:00:00",
                "partition": "",
                "cpus_per_task": 1,
                "mem_per_cpu_gb": 4,
                "qos": "normal",
                "env_command": "",  # what a job runs first, such as `source .venv/bin/activate`
                "max_array_size": 1001,
                "requeue": True,
            },
        }
    )


def check(cfg: ConfigDict) -> None:
    """Raises UserError where the work cannot be done as the config says."""
    import shutil

    if cfg.executor not in EXECUTORS:
        raise UserError(f"config.executor={cfg.executor}: unknown; choose {', '.join(EXECUTORS)}")
    if cfg.workers < 0:
        raise UserError(f"config.workers={cfg.workers}: must be 0 (one a core) or more")
    if cfg.executor == "slurm":
        if not cfg.slurm.partition:
            raise UserError("config.slurm.partition is not set; `sinfo` lists the partitions")
        if shutil.which("sbatch") is None:
            raise UserError("config.executor=slurm: no `sbatch` on this machine; start this on a Slurm login node")
    if cfg.executor == "ray":
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise UserError("config.executor=ray: needs Ray; pip install 'lm[ray]'") from error


def run(
    phases: Sequence[Phase], cfg: ConfigDict, logs: Path, watch: Callable[[Phase], AbstractContextManager[Any]]
) -> bool:
    """Runs the phases in order; returns whether they have ended, which under Slurm they have not: they are queued.

    `watch` is entered around each phase that runs here. Whatever a task raises is raised here.
    """
    with _quiet():
        if cfg.executor == "slurm":
            _queue(phases, cfg, logs)
            return False
        execute = _on_ray if cfg.executor == "ray" else _here
        for phase in phases:
            with watch(phase):
                execute(phase, cfg.workers or os.cpu_count() or 1, logs / phase.name)
        return True


def _here(phase: Phase, workers: int, logs: Path) -> None:
    workers = min(workers, phase.tasks)
    if workers == 1:  # in this process, where a debugger can follow
        for rank in range(phase.tasks):
            phase.run(None, rank, phase.tasks)
        return
    from lm.data.curate.quiet import QuietLocalExecutor

    QuietLocalExecutor(
        [phase.run], tasks=phase.tasks, workers=workers, logging_dir=str(logs), skip_completed=False
    ).run()


def _on_ray(phase: Phase, workers: int, logs: Path) -> None:
    import ray
    from datatrove.executor.ray import RayPipelineExecutor

    if not ray.is_initialized():
        ray.init(
            num_cpus=None if os.environ.get("RAY_ADDRESS") else workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    failures = logs / "failures"
    RayPipelineExecutor(
        [Guarded(phase.run, failures)],
        tasks=phase.tasks,
        workers=min(workers, phase.tasks),
        logging_dir=str(logs),
        skip_completed=False,
    ).run()
    for path in sorted(failures.glob("*.txt")):  # Ray's executor logs a task's error and goes on
        message = path.read_text(encoding="utf-8")
        path.unlink()
        raise UserError(message)


@dataclass(frozen=True)
class Guarded:
    """Runs a phase's task and leaves its error where the caller finds it."""

    run: Run
    failures: Path

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        try:
            self.run(data, rank, world_size)
        except Exception as error:
            self.failures.mkdir(parents=True, exist_ok=True)
            text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            (self.failures / f"{rank:05d}.txt").write_text(text, encoding="utf-8")
            raise


def _queue(phases: Sequence[Phase], cfg: ConfigDict, logs: Path) -> None:
    from datatrove.executor.slurm import SlurmPipelineExecutor

    before: Any = None
    for phase in phases:
        before = SlurmPipelineExecutor(
            [phase.run],
            tasks=phase.tasks,
            workers=cfg.workers or -1,
            time=cfg.slurm.time,
            partition=cfg.slurm.partition,
            cpus_per_task=cfg.slurm.cpus_per_task,
            mem_per_cpu_gb=cfg.slurm.mem_per_cpu_gb,
            qos=cfg.slurm.qos,
            env_command=cfg.slurm.env_command or None,
            max_array_size=cfg.slurm.max_array_size,
            requeue=cfg.slurm.requeue,
            job_name=f"lm-curate-{phase.name}",
            logging_dir=str(logs / phase.name),
            mail_type="NONE",
            depends=before,
        )
    before.run()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps datatrove's account of every task out of the terminal; its logs have it."""
    from loguru import logger

    logger.disable("datatrove")
    try:
        yield
    finally:
        logger.enable("datatrove")


class Watch:
    """Calls `look` every so often from a thread of its own, and once more at the end."""

    def __init__(self, look: Callable[[], None], seconds: float = 0.5) -> None:
        self._look, self._seconds = look, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._look()
