"""What checkpoints need of Orbax: arrays in, arrays out, failures in one line, nothing on the terminal."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from lm.common import buckets
from lm.common.integrity import DamagedError

# How tensorstore puts into words that the machine refuses to store more; it raises ValueError for that.
_REFUSALS = ("No space left", "File too large", "quota exceeded", "Read-only file system", "Permission denied")
_WHOLE = "commit_success.txt"  # Orbax's last object of a checkpoint in a bucket
_LATE_WRITE = "Event loop is closed"
_BRIEF_CHARACTERS = 300
_LOOK_SECONDS = 0.2


def open_manager(directory: Path, *, policy: Any, background: bool) -> ocp.CheckpointManager:
    """Opens `directory` for writing, making it and removing what a killed save left; `policy` says what stays."""
    logging.getLogger("absl").addFilter(_FAILURES)
    _FAILURES.found.clear()  # of earlier managers
    logging.getLogger("asyncio").addFilter(_is_not_refusal)
    _leave_out_late_writes()
    directory.mkdir(parents=True, exist_ok=True)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        enable_async_checkpointing=background,
        cleanup_tmp_directories=True,
        save_root_metadata=False,
        lightweight_initialize=True,  # else one damaged step would keep the whole directory from opening
    )
    return ocp.CheckpointManager(directory, options=options)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits for the save under way, and raises what went wrong with it.

    Of several processes, one whose part fails knows at once, but Orbax raises that only when all have ended the save,
    and the others wait for the part: so it is raised as soon as Orbax logs it, while threads of its own still wait.
    """
    if jax.process_count() == 1:
        manager.wait_until_finished()
        return
    waiting = Thread(target=_quietly, args=(manager.wait_until_finished,), daemon=True)
    waiting.start()
    while waiting.is_alive():
        waiting.join(_LOOK_SECONDS)
        if _FAILURES.found:
            raise _FAILURES.found[-1]
    manager.wait_until_finished()


def _quietly(work: Callable[[], None]) -> None:
    with suppress(Exception):  # it is raised again to who asks next
        work()


def open_array(path: Path, name: str, context: tensorstore.Context) -> tensorstore.TensorStore:
    """Opens one array of a step's state directory for `read_part`.

    tensorstore reads what Orbax wrote: Orbax's own reader would stop at the first array that is damaged, write
    pages of tracebacks past any handler, and depend on the devices that the checkpoint was made on.

    Raises:
        DamagedError: what is there is no array.
    """
    base = tensorstore.KvStore.Spec(f"{path}/" if buckets.is_bucket(path) else f"file://{path}/").to_json()
    spec = {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{name}/"}}
    try:
        return tensorstore.open({**spec, "fill_missing_data_reads": False}, open=True, context=context).result()
    except (ValueError, OSError) as error:
        raise DamagedError(brief(error)) from error


def read_part(store: tensorstore.TensorStore, index: tuple[slice, ...]) -> np.ndarray:
    """Reads a part of an array.

    Raises:
        DamagedError: bytes that cannot be made sense of.
    """
    try:
        return store[index].read().result()
    except (ValueError, OSError) as error:
        raise DamagedError(brief(error)) from error


def read_context() -> tensorstore.Context:
    """Returns what the reads of one checkpoint share: a cache of 100 MB, mostly for its index."""
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": 100_000_000}})


def refusal(error: Exception) -> str:
    """Returns why the machine refused to store more (full disk, quota, permission), or "" if it was not that."""
    if isinstance(error, OSError):
        return error.strerror or brief(error)
    return next((words for words in _REFUSALS if isinstance(error, ValueError) and words in str(error)), "")


def is_whole(step: Path) -> bool:
    """Says whether a step's directory holds all of it: on a disk it was renamed, in a bucket a last object says so."""
    return step.is_dir() and (not buckets.is_bucket(step) or (step / _WHOLE).exists())


def remove_half_written(directory: Path) -> None:
    """Removes what a failed save left, to make room; what a writer still holds goes when next opened for writing."""
    if buckets.is_bucket(directory):
        return  # there is always room
    for leftover in directory.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(leftover, ignore_errors=True)


class _Failures(logging.Filter):
    """Drops what Orbax logs, at length and from threads of its own, and keeps refusals, which it raises as well."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Exception] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if "orbax" not in Path(record.pathname).parts:
            return True
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and refusal(error):
            self.found.append(error)
        return False


_FAILURES = _Failures()  # what logs is one for the process, and so is this


def _is_not_refusal(record: logging.LogRecord) -> bool:
    """Drops what asyncio says of further writes that found no room, once the first of them was raised to us."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, Exception) and refusal(error))


def _leave_out_late_writes() -> None:
    """Keeps the interpreter from reporting writes that end after a save has failed.

    Orbax closes its event loop at the first array that cannot be written, and every other one then tells the closed
    loop so from a thread. The failure itself is raised to us.
    """
    report = sys.unraisablehook
    if getattr(report, "leaves_out_late_writes", False):
        return

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == _LATE_WRITE):
            report(unraisable)

    hook.leaves_out_late_writes = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


def brief(error: BaseException) -> str:
    """Returns an error's message on one line, without tensorstore's specs, its middle left out where it is long."""
    words = " ".join(str(error).split(" [tensorstore_spec=")[0].split())
    half = _BRIEF_CHARACTERS // 2
    return words if len(words) <= _BRIEF_CHARACTERS else f"{words[:half]} … {words[-half:]}"
