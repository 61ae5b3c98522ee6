"""Compiles the train step itself, and a step of decoding, for devices that need not be here; nothing is run.

In a process of its own (`python -m lm.study.plan.compile`, which reads a request and writes a result as JSON), for the
environment says what JAX compiles for, and libtpu lets one process have it at a time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_collections import ConfigDict

from lm.common import config as configs
from lm.common.errors import UserError
from lm.study.plan import hlo
from lm.study.plan.chips import LOCAL, parse
from lm.study.plan.layout import Layout
from lm.study.plan.work import Traffic

# The two ways in which the compiler says that a program is too large for a device, and how large it is.
_FULL = re.compile(r"Used ([\d.]+)([KMG]) of [\d.]+[KMG] hbm|HLO temporaries \(([\d.]+)([KMG])\) exceeds available HBM")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BUSY = "libtpu_lockfile"


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a program; bytes, operations and seconds are a device's.

    Attributes:
        memory: bytes by kind: `arguments`, `temporary`, `output` beyond the arguments it takes the place of, `code`;
            and `peak`, the most that is in use at once, which is less, since temporary arrays take turns.
        flops: of all products, as often as they run, kernels' left out.
        kernels: how often each kernel runs.
        traffic: bytes that come from other devices, by mesh axes and kind.
        own: the compiler's own analysis, which counts the body of a loop once: operations, bytes, optimal seconds.
        seconds: that compiling took.
        host_bytes: the most memory of this machine that the process which compiled had in use.
        too_large: bytes it would need, where the device has fewer; all else is then empty.
        step_seconds: what a step took, where it was run.
    """

    memory: dict[str, int]
    flops: float
    kernels: dict[str, int]
    traffic: tuple[Traffic, ...]
    own: dict[str, float]
    seconds: float
    host_bytes: int = 0
    too_large: int = 0
    step_seconds: float | None = None

    @property
    def peak(self) -> int:
        """Bytes in use at once at the worst moment, as the compiler has it.

        A CPU's counts no temporary arrays there: all of them are then added to the arguments, some of which share.
        """
        if self.too_large:
            return self.too_large
        least = self.memory["arguments"] + self.memory["temporary"] // 4
        return (
            self.memory["peak"] if self.memory["peak"] > least else self.memory["arguments"] + self.memory["temporary"]
        )


def check(topology: str) -> None:
    """Checks that this machine has the compiler for a topology.

    Raises:
        UserError: it is a TPU and libtpu is not installed; or a GPU that is not here.
    """
    if topology in LOCAL:
        return
    if not parse(topology).chip.is_tpu:
        raise UserError(
            f"--topology={topology}: what it takes can be counted on paper alone, unless it is this machine's: "
            "--topology=gpu compiles there; or leave out what asks for the compiler"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology={topology}: libtpu, the compiler for TPUs, is not installed; pip install 'lm[tpu]' (no TPU "
            "is needed), or give --compile=0 to count on paper alone"
        )


def compile_step(
    config: ConfigDict, topology: str, layout: Layout, *, decode: bool = False, timed: bool = False
) -> Compiled:
    """Compiles a resolved pretraining config's step for a topology and layout; see `Compiled`.

    Raises:
        UserError: no compiler for it, one that is in use, or a layout that the model cannot have.
        RuntimeError: the compiler failed otherwise.
    """
    check(topology)
    request = {
        "config": configs.to_dict(config),
        "topology": topology,
        "layout": asdict(layout),
        "decode": decode,
        "timed": timed,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "lm.study.plan.compile"],
        input=json.dumps(request),
        env={**os.environ, **_environment(topology)},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = ran.stdout.strip().splitlines()[-1] if ran.stdout.strip() else ""
    if ran.returncode == 0 and answer.startswith("{"):
        found = json.loads(answer)
        return Compiled(**{**found, "traffic": tuple(Traffic(*each) for each in found["traffic"])})
    if ran.returncode == 2:
        raise UserError(answer)
    if _BUSY in ran.stderr:
        raise UserError(f"--topology={topology}: libtpu is in use by another process; wait until that has ended")
    raise RuntimeError(f"compiling for {topology} failed:\n{ran.stderr[-4000:]}")


def _environment(topology: str) -> dict[str, str]:
    """Returns what JAX and libtpu read: a TPU is compiled for from the CPU, and nothing asks the network for one."""
    if topology == "gpu":
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if topology == "cpu":
        return {"JAX_PLATFORMS": "cpu"}
    chip = parse(topology).chip
    kinds = {"v5e": "v5litepod-8", "v6e": "v6e-8", "tpu7x": "tpu7x-8"}
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": kinds.get(chip.name, f"{chip.name}-8"),
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    }


def main() -> int:
    """Answers the request on standard input."""
    request = json.load(sys.stdin)
    config = ConfigDict(request["config"])
    layout = Layout(**request["layout"])
    try:
        found = _compiled(config, request["topology"], layout, decode=request["decode"], timed=request["timed"])
    except UserError as error:
        print(error)
        return 2
    print(json.dumps(asdict(found)))
    return 0


def _compiled(config: ConfigDict, topology: str, layout: Layout, *, decode: bool, timed: bool) -> Compiled:
    import jax

    from lm.common import mesh as meshes
    from lm.model.config import ModelConfig
    from lm.study.plan import programs

    devices = jax.devices()[: layout.devices] if topology in LOCAL else _absent(topology)
    mesh = meshes.make_mesh(layout.mesh, devices)
    with config.unlocked():
        config.model.remat, config.train.microbatches = layout.remat, layout.microbatches
    model = ModelConfig.from_dict(config.model)
    started = time.monotonic()
    # A mesh of devices that are not here cannot be entered; what is computed needs no more than its shape.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        lowered = (programs.decode if decode else programs.train)(config, model, mesh)
        try:
            program = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if not (needed := needs(str(error))):
                raise
            return Compiled({}, 0.0, {}, (), {}, time.monotonic() - started, _most_used(), too_large=needed)
    seconds = time.monotonic() - started
    took = programs.time_train(config, model, mesh) if timed else None
    return describe(program, layout.mesh, seconds, took)


def needs(refusal: str) -> int:
    """Returns the bytes that a program would need of a device that has fewer, in the compiler's words; else 0."""
    if not (found := _FULL.search(refusal)):
        return 0
    return int(float(found[1] or found[3]) * _UNITS[found[2] or found[4]])


def _absent(topology: str) -> list[Any]:
    from jax.experimental import topologies

    where = parse(topology)
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:
        if _BUSY in str(error):
            raise
        why = str(error).splitlines()[0][:200]
        raise UserError(f"--topology={topology}: libtpu makes no slice of {where.dims} chips: {why}") from error


def describe(program: Any, mesh: Mapping[str, int], seconds: float, step_seconds: float | None = None) -> Compiled:
    """Returns what a compiled program of a mesh of these sizes says of itself."""
    stats, costs = program.memory_analysis(), program.cost_analysis()
    memory = {
        "arguments": stats.argument_size_in_bytes,
        "output": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
        "code": stats.generated_code_size_in_bytes,
        # It counts what lies in the host's memory too, in which a step's arguments make room for its output.
        "peak": max(getattr(stats, "peak_memory_in_bytes", 0) - stats.host_argument_size_in_bytes, 0),
    }
    module = hlo.read(program.as_text())
    totals: dict[tuple[str, str], float] = {}
    for found in module.collectives(mesh):
        key = (" × ".join(found.axes), found.kind)
        totals[key] = totals.get(key, 0.0) + found.bytes * found.times
    traffic = tuple(Traffic(axes, kind, size, False) for (axes, kind), size in sorted(totals.items()))
    own = {name: float(costs[name]) for name in ("flops", "bytes accessed", "optimal_seconds") if name in costs}
    return Compiled(memory, module.flops(), module.kernels(), traffic, own, seconds, _most_used(), 0, step_seconds)


def _most_used() -> int:
    """Returns the most bytes that this process had in memory so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # of what getrusage counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main())
