"""Runs the phases of a job on this machine, on Ray or under Slurm, by datatrove's executors.

A phase is a callable `(data, rank, world_size)`: datatrove's own form, in which rank is a unit of work. What a phase
writes depends on the unit alone, so it does not matter which executor runs it, with how many workers, or twice.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lm.common import manifest
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
                "time": "24:00:00",  # limit of a task
                "partition": "",  # `sinfo` lists them
                "cpus_per_task": 1,  # a task uses one
                "mem_per_cpu_gb": 4,  # dedup in memory may need more
                "qos": "normal",  # quality of service
                "env_command": "",  # what a job runs first, such as `source .venv/bin/activate`
                "max_array_size": 1001,  # tasks that the cluster takes in one array
                "requeue": True,  # a task again that was preempted
            },
        }
    )


def check(cfg: ConfigDict) -> None:
    """Raises UserError where the work cannot be done as the config says."""
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
    from lm.data.curate.backends import LocalExecutor

    LocalExecutor([phase.run], tasks=phase.tasks, workers=workers, logging_dir=str(logs), skip_completed=False).run()


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
    outcomes = logs / "outcomes"
    shutil.rmtree(outcomes, ignore_errors=True)  # of an earlier attempt
    RayPipelineExecutor(
        [Reported(phase.run, outcomes)],
        tasks=phase.tasks,
        workers=min(workers, phase.tasks),
        logging_dir=str(logs),
        skip_completed=False,
        mem_per_cpu_gb=0,  # a share that no node has free would be waited for without end
    ).run()
    for rank in range(phase.tasks):  # Ray's executor logs what goes wrong and goes on
        path = outcomes / f"{rank:05d}"
        if not path.is_file():
            raise UserError(
                f"{phase.name}: task {rank} was killed by Ray, as happens when memory runs out; the same command "
                f"continues, with less memory if config.workers is smaller"
            )
        kind, _, message = path.read_text(encoding="utf-8").partition("\n")
        if kind != "done":
            raise (UserError if kind == "user" else RuntimeError)(message)


@dataclass(frozen=True)
class Reported:
    """Runs a phase's task, and leaves how it ended where the caller finds it: done, or its error."""

    run: Run
    outcomes: Path

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        try:
            self.run(data, rank, world_size)
        except Exception as error:
            self._report(
                rank, f"user\n{error}" if isinstance(error, UserError) else f"failed\n{traceback.format_exc()}"
            )
            raise
        self._report(rank, "done\n")

    def _report(self, rank: int, outcome: str) -> None:
        self.outcomes.mkdir(parents=True, exist_ok=True)
        manifest.write_atomic(self.outcomes / f"{rank:05d}", outcome)


def _queue(phases: Sequence[Phase], cfg: ConfigDict, logs: Path) -> None:
    from lm.data.curate.backends import SlurmExecutor

    # The nodes see the file system that this process sees, so its Python serves them too.
    path = shlex.quote(str(Path(sys.executable).parent))
    before: Any = None
    for phase in phases:
        before = SlurmExecutor(
            [phase.run],
            tasks=phase.tasks,
            workers=cfg.workers or -1,
            time=cfg.slurm.time,
            partition=cfg.slurm.partition,
            cpus_per_task=cfg.slurm.cpus_per_task,
            mem_per_cpu_gb=cfg.slurm.mem_per_cpu_gb,
            qos=cfg.slurm.qos,
            env_command=cfg.slurm.env_command or f"export PATH={path}:$PATH",
            max_array_size=cfg.slurm.max_array_size,
            requeue=cfg.slurm.requeue,
            job_name=f"lm-curate-{phase.name}",
            logging_dir=str(logs / phase.name),
            skip_completed=False,  # receipts say what is done
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
