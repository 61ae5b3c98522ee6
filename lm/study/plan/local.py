"""This machine as a slice: what it can do is measured, since no data sheet is asked."""

from __future__ import annotations

import os

from lm.common.errors import UserError
from lm.study.plan.chips import CHIPS, GB, Chip, Slice
from lm.study.plan.search import Candidate

CHEAP_SECONDS = 20.0  # a step that takes no longer is timed


def here(topology: str) -> Slice:
    """Returns the devices of this machine.

    Raises:
        UserError: a GPU was asked for, and there is none.
    """
    import jax

    from lm.common import hardware

    if jax.default_backend() != topology:
        raise UserError(f"--topology={topology}: this machine's devices are {jax.default_backend()}s")
    devices = jax.devices()
    kind = devices[0].device_kind
    dtype = "float32" if topology == "cpu" else "bfloat16"
    peak = hardware.data_sheet_flops(kind) or hardware.measured_matmul_flops(dtype, 1024 if topology == "cpu" else 8192)
    memory = (devices[0].memory_stats() or {}).get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    )
    share = 1 if topology == "gpu" else len(devices)  # simulated devices share one host
    known = next((chip for chip in CHIPS.values() if chip.flops == peak), None)
    bandwidth, link = (known.bandwidth, known.link) if known else (20.0 * GB, 10.0 * GB)
    chip = Chip(topology, peak / share, memory // share, bandwidth / share, link)
    return Slice(topology, chip, (len(devices),))


def is_cheap(candidate: Candidate, where: Slice) -> bool:
    """Says whether a step would be over soon, and fits."""
    return candidate.step.seconds <= CHEAP_SECONDS and candidate.memory.total <= 0.5 * where.hbm
