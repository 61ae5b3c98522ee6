"""datatrove's local executor without its account of every task on the terminal."""

from __future__ import annotations

from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from loguru import logger


class QuietLocalExecutor(LocalPipelineExecutor):
    """Runs tasks as its base does; what goes wrong reaches the caller as an exception, and nothing is printed."""

    def _run_for_rank(self, *args: Any, **options: Any) -> Any:
        logger.disable("datatrove")  # in each worker process
        return super()._run_for_rank(*args, **options)
