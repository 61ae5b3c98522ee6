"""Profiles of a few steps while a run goes on, for XProf or TensorBoard: at steps that were said, or when asked.

A file called `profile` in the run's directory, or under its address in a bucket, asks: on any host, at any time. It is
looked for where steps are logged, and is gone once the profile begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jax

from lm.common import buckets, cluster
from lm.common.retry import retry
from lm.train import events

Paused: TypeAlias = Callable[[str], AbstractContextManager[None]]
REQUEST, FOLDER = "profile", "profiles"


class Profiler:
    """Traces steps on every process, each into a file of its own below `profiles/step_N`; N is the first step traced.

    Args:
        directory: the run's.
        steps: from which to trace, whether asked or not.
        length: how many steps a profile has.
        tell: is given a line when a profile is there.
    """

    def __init__(
        self,
        directory: Path,
        steps: Collection[int],
        length: int,
        tell: Callable[[str], None],
    ) -> None:
        self._directory, self._steps, self._length, self._tell = directory, frozenset(steps), length, tell
        self._first: int | None = None  # step of the profile under way

    def __enter__(self) -> Profiler:
        return self

    def __exit__(self, *_: object) -> None:
        if self._first is not None:
            jax.profiler.stop_trace()

    def after(self, step: int, metrics: Any, paused: Paused, *, logged: bool, last: bool) -> None:
        """Begins or ends a profile behind a step that was dispatched, `metrics` being what it returns.

        The first step that is traced is the one after, so never the one that compiles. `paused` keeps what beginning
        and writing takes out of the training rate.
        """
        if self._first is not None and (last or step - self._first + 1 >= self._length):
            with paused(f"profile of step {self._first}"):
                self._end(step, metrics)
        elif self._first is None and not last and self._wanted(step + 1, logged=logged):
            with paused(f"profile from step {step + 1}"):
                jax.block_until_ready(metrics)  # what was dispatched before is no part of it
                jax.profiler.start_trace(self._folder(step + 1))
            self._first = step + 1

    def _wanted(self, step: int, *, logged: bool) -> bool:
        if step in self._steps:
            return True
        return logged and cluster.anywhere(self._take_request())

    def _take_request(self) -> bool:
        """Says whether a profile was asked for here, and takes the question away."""
        path, address = self._directory / REQUEST, buckets.origin(self._directory)
        asked = path.exists()
        path.unlink(missing_ok=True)
        if address and cluster.is_first():
            files, root = buckets.connect(address)
            if retry(partial(files.exists, f"{root}/{REQUEST}"), f"{address}/{REQUEST}"):
                retry(partial(files.rm_file, f"{root}/{REQUEST}"), f"{address}/{REQUEST}")
                asked = True
        return asked

    def _end(self, step: int, metrics: Any) -> None:
        assert self._first is not None
        jax.block_until_ready(metrics)
        jax.profiler.stop_trace()
        folder = self._folder(self._first)
        event = {"event": "profile", "steps": [self._first, step], "path": str(folder.relative_to(self._directory))}
        events.write(self._directory, event)
        self._tell(f"steps {self._first} to {step} are profiled in {folder}")
        self._first = None

    def _folder(self, step: int) -> Path:
        several = f"process_{jax.process_index()}" if jax.process_count() > 1 else ""
        return self._directory / FOLDER / f"step_{step}" / several
