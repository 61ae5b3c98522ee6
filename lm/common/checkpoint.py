"""Checkpoints: Orbax underneath (asynchronous, sharded, atomic), and hashes of our own over every array.

    DIRECTORY/STEP/state    every array under its dotted path, written by Orbax
    DIRECTORY/STEP/record   JSON: shape, dtype, fingerprint of every array; `extra`; metrics (see integrity.py)

Orbax puts a step in place by one rename, so a directory named by a number is whole or absent. Whoever only
reads opens no manager, and so touches nothing that a running training job is writing. Of several processes each
writes and reads what its own devices hold; what is on disk is the same whatever their number.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lm.common import buckets, cluster, integrity, storage
from lm.common.errors import StrandedError, UserError

_STATE, _RECORD, _RECORD_FILE = "state", "record", "metadata"  # the last is Orbax's name for a JSON item's file
_FALLBACK = "--config.train.restore_fallback=True goes back to the newest one that verifies"


@dataclass(frozen=True)
class Restored:
    """A verified checkpoint: `state` has the structure and shardings that were asked for."""

    step: int
    state: Any
    extra: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: saved in the background, verified on the way back.

    The newest `keep_last` are kept, and the `keep_best` with the lowest finite `best_metric`; others are deleted
    once a newer one is in place. Close it (or use it as a context manager) so that the last save is waited for.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        best_metric: str = "val/loss",
        async_save: bool = True,
    ) -> None:
        assert keep_last >= 1, "a run without its newest checkpoint cannot be resumed"
        # tensorstore takes no ".."
        self.directory = directory if buckets.is_bucket(directory) else Path(os.path.abspath(directory))
        self._keep_last, self._keep_best = keep_last, keep_best
        self._best_metric, self._async = best_metric, async_save
        self._manager: ocp.CheckpointManager | None = None
        self._scores: dict[int, float | None] = {}
        self._saving: int | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Returns the steps that are wholly on disk, oldest first."""
        if not self.directory.is_dir():
            return []
        steps = (path for path in self.directory.iterdir() if path.name.isdecimal())
        return sorted(int(path.name) for path in steps if storage.is_whole(path))

    def latest(self) -> int | None:
        """Returns the newest step on disk, or None."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Returns the step on disk with the lowest finite `best_metric`, or None if none has one."""
        return next(iter(self._ranked(self.steps())), None)

    def save(self, step: int, state: Any, extra: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Saves `state` (a PyTree of jax arrays) with JSON-able `extra`; the caller may donate the arrays afterwards.

        Returns once the arrays are fingerprinted and copied to the host; writing goes on in the background. A step that
        is saved already is left as it is, for a run reaches a step in one state only.

        Raises:
            UserError: this save, or the one before it, found no room or no permission to write.
        """
        self.wait()
        newest = cluster.agree(-1 if (known := self.latest()) is None else known)
        if step <= newest:
            assert step in self.steps(), f"step {step} is older than checkpoint {newest}"
            return
        leaves = integrity.named_leaves(state)
        assert all(leaf.size for leaf in leaves.values()), "Orbax stores no arrays of zero size"
        scores = {name: float(value) if math.isfinite(value) else None for name, value in (metrics or {}).items()}
        record = {"step": step, "leaves": integrity.describe(leaves), "extra": dict(extra), "metrics": scores}
        self._scores[step] = scores.get(self._best_metric)
        self._saving = step
        with self._writing(step):
            accepted = self._open().save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(leaves), record=ocp.args.JsonSave(integrity.seal(record))
                ),
                force=True,
            )
            assert accepted, f"Orbax declined to save step {step}"
        if not self._async:
            self.wait()

    def wait(self) -> None:
        """Waits for the save under way, if any.

        Raises:
            UserError: it found no room or no permission to write; earlier checkpoints are untouched.
        """
        if self._manager is not None and self._saving is not None:
            with self._writing(self._saving):
                storage.finish(self._manager)
            self._saving = None

    def close(self) -> None:
        """Waits for the save under way and lets go of Orbax's threads."""
        try:
            self.wait()
        finally:
            self._drop_manager()

    def restore(self, like: Any, step: int | None = None, *, fallback: bool = False) -> Restored:
        """Restores a step (the newest by default) into the structure, shapes, dtypes and shardings of `like`.

        With `fallback`, checkpoints that do not verify are put aside under another name, with a line on standard
        error, and the newest older one that does is restored. A checkpoint that does not fit is never passed over.

        Raises:
            UserError: no checkpoint, a leaf that does not fit, or one that does not verify; all leaves are named.
        """
        self.wait()
        candidates = [known for known in reversed(self.steps()) if step is None or known <= step]
        if not candidates or (step is not None and candidates[0] != step):
            raise self._no_such(step)
        damaged: dict[int, str] = {}
        for candidate in candidates:
            try:
                restored = self._restore(candidate, like)
            except integrity.DamagedError as error:
                if not fallback:
                    raise UserError(f"{self.directory / str(candidate)}: {error}; {_FALLBACK}") from error
                damaged[candidate] = str(error)
                continue
            self._put_aside(damaged)
            return restored
        reasons = "; ".join(f"{known}: {why}" for known, why in damaged.items())
        raise UserError(f"{self.directory}: no checkpoint verifies ({reasons}); begin again in another --workdir")

    def restore_params(
        self, step: int | None = None, *, best: bool = False, prefix: str = "params"
    ) -> tuple[int, Any, dict[str, Any]]:
        """Returns `(step, params, extra)`: the nested dict under `prefix`, on the default device, verified.

        Needs to know nothing of the rest of the state. `step` defaults to the newest one, or with `best` to
        that of the lowest metric.

        Raises:
            UserError: no checkpoint, or a leaf that does not verify.
        """
        self.wait()
        if step is None and best:
            step = self.best()
        if step is None:
            step = self.latest()
        if step is None or step not in self.steps():
            raise self._no_such(step)
        try:
            record = self._record(step)
            leaves = {name: saved for name, saved in record["leaves"].items() if name.startswith(f"{prefix}.")}
            assert leaves, f"the state has no {prefix}"
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            arrays = self._read(step, leaves, dict.fromkeys(leaves, here))
        except integrity.DamagedError as error:
            others = [known for known in self.steps() if known != step]
            raise UserError(f"{self.directory / str(step)}: {error}; other checkpoints here: {others}") from error
        return step, integrity.nested(arrays)[prefix], record["extra"]

    def _restore(self, step: int, like: Any) -> Restored:
        record = self._record(step)
        wanted = integrity.named_leaves(like)
        if found := integrity.misfits(record["leaves"], wanted):
            raise UserError(
                f"{self.directory / str(step)}: does not fit this model and optimizer: {', '.join(found)}; "
                "use the config it was made with, or another --workdir"
            )
        where = {name: _where(leaf) for name, leaf in wanted.items()}
        arrays = self._read(step, record["leaves"], where, cluster.anywhere)
        state = jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])
        return Restored(step, state, record["extra"])

    def _read(
        self,
        step: int,
        leaves: Mapping[str, Mapping[str, Any]],
        where: Mapping[str, jax.sharding.Sharding],
        anywhere: Callable[[bool], bool] = bool,
    ) -> dict[str, jax.Array]:
        """Reads of each array what this process's devices hold, and compares all that lies there with the record.

        `anywhere` asks the other processes, where all of them read.
        """
        context = storage.read_context()
        arrays: dict[str, jax.Array] = {}
        damage: dict[str, list[str]] = {}  # what is wrong -> with which leaves
        unreadable = ""
        for name, saved in leaves.items():
            try:
                store = storage.open_array(self.directory / str(step) / _STATE, name, context)
                stored = jax.ShapeDtypeStruct(store.shape, store.dtype.numpy_dtype)
                if found := integrity.misfits({"it": saved}, {"it": stored}):
                    damage.setdefault(" and ".join(found).replace("it ", "", 1), []).append(name)
                    continue
                arrays[name] = _placed(store, where[name])
            except integrity.DamagedError as error:
                unreadable = unreadable or f"unreadable ({error})"  # the first reason stands for all
                damage.setdefault(unreadable, []).append(name)
        if not anywhere(bool(damage)):
            if changed := integrity.differences(leaves, arrays):
                damage["content differs from what was saved"] = changed
        elif not damage:
            raise integrity.DamagedError("another process could not read it")
        if damage:
            raise integrity.DamagedError("; ".join(f"{wrong}: {', '.join(names)}" for wrong, names in damage.items()))
        return arrays

    def _record(self, step: int) -> dict[str, Any]:
        path = self.directory / str(step) / _RECORD / _RECORD_FILE
        try:
            record = integrity.unseal(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise integrity.DamagedError(f"the record is not readable ({storage.brief(error)})") from error
        if any("bits" not in entry for entry in record["leaves"].values()):
            raise integrity.DamagedError("was written by an earlier version, whose hashes this one does not know")
        if record["step"] != step:
            raise integrity.DamagedError(f"holds step {record['step']}")
        return record

    def _ranked(self, steps: Sequence[int]) -> list[int]:
        scores = {step: score for step in steps if (score := self._score(step)) is not None}
        return sorted(scores, key=lambda step: (scores[step], step))

    def _score(self, step: int) -> float | None:
        if step not in self._scores:
            try:
                self._scores[step] = self._record(step)["metrics"].get(self._best_metric)
            except integrity.DamagedError:  # restoring it says so; nothing to rank by here
                self._scores[step] = None
        return self._scores[step]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Says which checkpoints stay, by Orbax's PreservationPolicy protocol."""
        del context
        steps = sorted(info.step for info in checkpoints)
        kept = {*steps[-self._keep_last :], *self._ranked(steps)[: self._keep_best]}
        return [info.step in kept for info in checkpoints]

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            self._manager = storage.open_manager(self.directory, policy=self, background=self._async)
        return self._manager

    @contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            alone = jax.process_count() == 1
            if alone:
                with suppress(Exception):  # closing raises the same failure again
                    self._drop_manager()  # it counts a step that never came to be
            else:  # closing waits for the others, who wait for this process's part
                self._manager, self._saving = None, None
            if cluster.is_first():
                storage.remove_half_written(self.directory)
            if why := storage.refusal(error):
                newest = self.latest()
                after = "starts anew" if newest is None else f"resumes from checkpoint {newest}"
                raise (UserError if alone else StrandedError)(
                    f"{self.directory}: checkpoint {step} could not be written ({why}); make room, and run the same "
                    f"command again: it {after}"
                ) from error
            raise

    def _drop_manager(self) -> None:
        manager, self._manager, self._saving = self._manager, None, None
        if manager is not None:
            manager.close()

    def _put_aside(self, damaged: Mapping[int, str]) -> None:
        if damaged:
            self._drop_manager()  # it remembers the steps
        for step, why in damaged.items():
            source = self.directory / str(step)
            target = next(path for n in range(1000) if not (path := source.with_name(f"{step}.damaged-{n}")).exists())
            cluster.barrier(f"{source} is read")  # by all, before it is gone
            if cluster.is_first():
                source.rename(target)
            cluster.barrier(f"{target} is there")
            self._scores.pop(step, None)
            print(f"{source}: {why}; put aside as {target.name}, going back to an older one", file=sys.stderr)

    def _no_such(self, step: int | None) -> UserError:
        if step is None:
            return UserError(f"{self.directory}: no checkpoint here yet; train first, or name another run")
        return UserError(f"{self.directory}: no checkpoint of step {step}; there are {self.steps()}")


def _where(like: Any) -> jax.sharding.Sharding:
    return getattr(like, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _placed(store: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """Reads each part that devices here hold, once, however many of them hold it."""
    parts: dict[str, np.ndarray] = {}

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        key = str(index)
        if key not in parts:
            parts[key] = storage.read_part(store, index or ())
        return parts[key]

    return jax.make_array_from_callback(tuple(store.shape), sharding, part)
