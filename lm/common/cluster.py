"""Many processes as one machine: finds the others, and lets one speak and write for all.

A process is told of the others by explicit flags, by JAX's own variables, by Slurm, by MPI, or by the TPU it sits on;
`jax.distributed` does the rest. Alone, everything here is a plain function call.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax._src import distributed  # the coordinator's barrier has no public name
from jax.experimental import multihost_utils

from lm.common.errors import UserError

T = TypeVar("T")

# The variable that tells how many processes a launcher started, and JAX's name for how it is to ask that launcher.
LAUNCHERS = {"SLURM_NTASKS": "slurm", "OMPI_COMM_WORLD_SIZE": "ompi"}
_LONGEST_WORK_MS = 7 * 24 * 3_600_000
_MEETINGS = itertools.count()  # of this process with the others, who count along
CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")  # where a Cloud TPU machine shows its chips


class Membership(NamedTuple):
    """How this process was told of the others, and what `jax.distributed.initialize` needs beside that."""

    told_by: str
    arguments: dict[str, Any]


def find(keys: Any, environment: Mapping[str, str], *, on_tpu: bool) -> Membership | None:
    """Returns how this process is one of several, or None if it is alone.

    `keys` is a config's `cluster` section: `coordinator` (HOST:PORT of process 0), `processes`, `process`.

    Raises:
        UserError: some of the flags without the others, or a number out of range.
    """
    given = {"coordinator": keys.coordinator or None, "processes": keys.processes, "process": keys.process}
    if given == {"coordinator": None, "processes": 1, "process": None}:
        return None  # said to be alone, on a machine that looks as if it were not
    if any(value is not None for value in given.values()):
        if missing := [name for name, value in given.items() if value is None]:
            raise UserError(f"cluster.{missing[0]}: not given; processes are told of each other by all three of them")
        if not 0 <= keys.process < keys.processes:
            raise UserError(f"cluster.process={keys.process}: processes are numbered 0 to {keys.processes - 1}")
        if not keys.coordinator.rpartition(":")[2].isdecimal():
            raise UserError(f"cluster.coordinator={keys.coordinator}: give HOST:PORT of process 0, such as node1:1234")
        names = ("coordinator_address", "num_processes", "process_id")
        return Membership("flags", dict(zip(names, given.values(), strict=True)))
    if "JAX_COORDINATOR_ADDRESS" in environment:
        try:
            count, number = int(environment["JAX_NUM_PROCESSES"]), int(environment["JAX_PROCESS_ID"])
        except (KeyError, ValueError) as error:
            raise UserError(
                "JAX_COORDINATOR_ADDRESS is set; JAX_NUM_PROCESSES and JAX_PROCESS_ID must be numbers beside it"
            ) from error
        address = environment["JAX_COORDINATOR_ADDRESS"]
        return Membership(
            "JAX_COORDINATOR_ADDRESS",
            {"coordinator_address": address, "num_processes": count, "process_id": number},
        )
    for variable, method in LAUNCHERS.items():
        if environment.get(variable, "1") not in ("", "1"):
            return Membership(variable, {"cluster_detection_method": method})
    return Membership("the TPU", {}) if on_tpu else None


def start(keys: Any) -> None:
    """Joins the other processes, if there are any; call it before anything asks JAX for devices.

    Raises:
        UserError: as `find`; or the others did not come within `cluster.timeout_seconds`.
    """
    if jax.distributed.is_initialized():
        return
    on_tpu = jax.config.values["jax_platforms"] in (None, "", "tpu") and any(
        any(Path("/").glob(pattern.lstrip("/"))) for pattern in CHIPS
    )
    membership = find(keys, os.environ, on_tpu=on_tpu)
    if membership is None:
        return
    try:
        jax.distributed.initialize(
            **membership.arguments,
            initialization_timeout=keys.timeout_seconds,
            heartbeat_timeout_seconds=keys.heartbeat_seconds,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cluster: told of other processes by {membership.told_by}, but could not join them: {reason}"
        ) from error


def is_first() -> bool:
    """Says whether this is the process that speaks and writes for all."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        _meet()
        multihost_utils.sync_global_devices(name)


def _meet() -> None:
    """Waits for all processes, however long the work of one of them takes.

    Devices that speak to each other give up after half a minute on a CPU and minutes elsewhere; the coordinator waits,
    and ends all if one is gone.
    """
    client = distributed.global_state.client
    assert client is not None, "several processes were started by `start`"
    client.wait_at_barrier(f"lm/meeting/{next(_MEETINGS)}", timeout_in_ms=_LONGEST_WORK_MS)


def agree(value: int) -> int:
    """Returns the first process's value, on every one."""
    if jax.process_count() == 1:
        return value
    _meet()
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def anywhere(flag: bool) -> bool:
    """Says on every process whether `flag` is up on any."""
    if jax.process_count() == 1:
        return flag
    _meet()
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def once(work: Callable[[], T]) -> T | None:
    """Does `work` in the first process while the others wait, who get None.

    Raises:
        UserError: in every process, where it fails in the first.
    """
    if jax.process_count() == 1:
        return work()
    result, failure = None, None
    if is_first():
        try:
            result = work()
        except BaseException as error:  # the others wait for a word, whatever happens
            failure = error
    failed = agree(int(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise UserError("process 0 could not go on; its own message says why")
    return result


def in_turn(work: Callable[[], T]) -> T:
    """Does `work` in the first process and then in the others, who find on disk what it made.

    Raises:
        UserError: in every process, where it fails in the first.
    """
    result = once(work)
    return result if is_first() else work()  # type: ignore[return-value]


@contextmanager
def one_voice() -> Iterator[None]:
    """Lets only the first process print to standard output."""
    if is_first():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def told(words: str) -> None:
    """Says a line on standard error, with the number of the process where there are several."""
    several = jax.process_count() > 1
    print(f"process {jax.process_index()}: {words}" if several else words, file=sys.stderr, flush=True)
