"""datatrove's local and Slurm executors, where a dead worker is an error and nothing is left running or half done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from loguru import logger

from lm.common.errors import UserError


class LocalExecutor(LocalPipelineExecutor):
    """Runs tasks as its base does, in a pool that notices when a worker dies, and whose workers die with this process.

    What a task raises is raised here, and stops the rest; nothing is printed.
    """

    def run(self) -> None:
        """Runs all tasks.

        Raises:
            UserError: a worker was killed, as the kernel does when memory runs out.
        """
        others = multiprocessing.active_children()
        context = multiprocessing.get_context(self.start_method)
        context.set_forkserver_preload(["lm.data.curate.phases", __name__])  # imported once for all workers
        with ProcessPoolExecutor(self.workers, context, initializer=_begin) as pool:
            try:
                for done in as_completed([pool.submit(self._run_for_rank, rank) for rank in range(self.tasks)]):
                    done.result()
            except BaseException as error:
                for worker in set(multiprocessing.active_children()).difference(others):
                    worker.kill()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, BrokenProcessPool):
                    raise UserError(
                        "a worker process was killed, as happens when memory runs out; the same command continues, "
                        "with less memory if config.workers is smaller"
                    ) from error
                raise


def _begin() -> None:
    """Makes a process a worker: quiet, deaf to Ctrl-C, which is its parent's to handle, and gone when that is gone."""
    logger.disable("datatrove")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


class SlurmExecutor(SlurmPipelineExecutor):
    """Queues tasks as its base does; where they need several arrays, each waits for the success of the one before.

    So does the next phase, which waits for the last of them. Statistics of tasks are not merged: receipts have all.
    """

    @property
    def dependency(self) -> str:
        """What an array waits for: the array of the same phase before it, else the phase before."""
        before = self.job_id or self.depends_job_id
        return f"afterok:{before}" if before else ""

    def launch_merge_stats(self) -> None:
        """Queues nothing."""
