"""From a config and a topology to a plan: looks for a layout where none is given, compiles the best, and compares."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.study import subject
from lm.study.plan import compile as compiler
from lm.study.plan import duration, local, search
from lm.study.plan.chips import LOCAL, Slice, parse
from lm.study.plan.compile import Compiled
from lm.study.plan.duration import Calibration, Step
from lm.study.plan.layout import misfit, of_config
from lm.study.plan.report import Plan
from lm.study.plan.search import Candidate, Search
from lm.study.subject import Subject

WAITED_FOR = ("tensor", "context", "pipeline", "expert")  # axes along which what comes next waits


@dataclass(frozen=True)
class Options:
    """How thorough a plan is to be.

    Attributes:
        search: over meshes, remat and micro-batches, whatever the config says of them.
        compile: how many layouts are compiled at most; None for one, or three in a search.
        limit: seconds after which no further layout is compiled.
        decode: compile a step of decoding too.
        price: US dollars of a chip for an hour; None for the list's.
        changes: keys of the config to set otherwise, by dotted name.
    """

    search: bool = False
    compile: int | None = None
    limit: float = math.inf
    decode: bool = False
    price: float | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def make(name: str, topology: str, options: Options, tell: Callable[[str], None]) -> Plan:
    """Returns the plan of a config `FILE[:arg]` or preset on a topology; `tell` hears what is being done.

    Raises:
        UserError: as `subject.find`, `chips.parse` and `compile.check`; a layout that cannot be had; nothing fits.
    """
    where = local.here(topology) if topology in LOCAL else parse(topology)
    wanted = options.compile if options.compile is not None else (3 if options.search else 1)
    wanted = wanted if where.chip.is_tpu or topology in LOCAL else 0  # others' compilers are not here
    if wanted:
        compiler.check(topology)
    found = _subject(name, where, options)
    job, layout = of_config(found.config, found.model, dict(found.mesh.shape))
    calibration = duration.calibration(where.chip.name)
    looked = Search()
    if options.search or all(size is None for size in found.config.mesh.values()):
        tell(f"looking at layouts of {where.devices} devices on paper")
        held: dict[str, Any] = {"remats": [layout.remat], "microbatches": layout.microbatches}
        looked = search.search(job, where, calibration.rates, **({} if options.search else held))
        if not looked.found:
            raise UserError(_nothing_fits(name, where, looked))
    elif why := misfit(job, layout):
        raise UserError(f"{name}: {why}; choose other sizes, or give --search to have them chosen")
    ranked = looked.by_mesh or [search.consider(job, layout, where, calibration.rates)]
    ends = time.monotonic() + options.limit
    compiled = _compile(found.config, topology, ranked, wanted, where, calibration, ends, tell) if wanted else []
    best, program, step = _choose(name, where, ranked, compiled)
    ran = [(candidate, step) for candidate, program, step in compiled if not program.too_large]
    reasons = search.reasons(looked, best, where, ran) if len(looked.found) > 1 else []
    decode = None
    if options.decode and program:
        tell("compiling a step of decoding")
        decode = compiler.compile_step(found.config, topology, best.layout, decode=True)
    return Plan(
        found.name, where, job, best, step, found.config.train.steps, calibration, program, decode,
        reasons=tuple(reasons),
        others=tuple(other for other in compiled if other[0] is not best),
        price=options.price if options.price is not None else where.chip.price,
    )  # fmt: skip


def _subject(name: str, where: Slice, options: Options) -> Subject:
    changes = dict(options.changes)
    if options.search:
        changes |= {f"mesh.{axis}": 1 for axis in meshes.AXES} | {"mesh.data": where.devices}
    return subject.find(name, changes=changes, devices=where.devices, dtype=where.dtype)


def _nothing_fits(name: str, where: Slice, looked: Search) -> str:
    if looked.smallest is None:
        return f"{name}: no mesh of {where.devices} devices divides the model and its batch; change train.batch_size"
    return (
        f"{name}: does not fit {where.topology} however it is laid out: at least {looked.smallest / 1e9:.1f} GB of "
        f"each device, of which {search.FILLED:.0%} of {where.hbm / 1e9:.1f} GB can be planned with; take more chips, "
        "or a smaller train.batch_size or train.loss_chunk"
    )


Result = tuple[Candidate, Compiled, Step]


def _compile(
    config: Any,
    topology: str,
    ranked: list[Candidate],
    wanted: int,
    where: Slice,
    calibration: Calibration,
    ends: float,
    tell: Callable[[str], None],
) -> list[Result]:
    """Compiles candidates in turn until so many fit, or twice as many were tried, or another would end too late."""
    done: list[Result] = []
    for candidate in ranked[: 2 * wanted]:
        fitting = sum(not program.too_large for _, program, _ in done)
        late = bool(fitting) and time.monotonic() + done[-1][1].seconds > ends
        if fitting == wanted or late:
            break
        tell(f"compiling for {topology}: {candidate.layout}")
        timed = topology in LOCAL and local.is_cheap(candidate, where)
        program = compiler.compile_step(config, topology, candidate.layout, timed=timed)
        tell(f"  took {program.seconds:.0f} s" + (", too large" if program.too_large else ""))
        done.append((candidate, program, _step(candidate, program, where, calibration)))
    return done


def _step(candidate: Candidate, program: Compiled, where: Slice, calibration: Calibration) -> Step:
    """Returns the estimate of a step with the compiler's operations and traffic in place of those on paper."""
    if program.too_large:
        return candidate.step
    traffic = tuple(t._replace(exposed=any(axis in t.axis for axis in WAITED_FOR)) for t in program.traffic if t.axis)
    work = replace(
        candidate.work,
        product_flops=program.flops,
        attention_flops=candidate.work.attention_flops if program.kernels else 0.0,
        traffic=traffic,
    )
    return duration.estimate(work, where, candidate.layout.mesh, calibration.rates)


def _choose(
    name: str, where: Slice, ranked: list[Candidate], compiled: list[Result]
) -> tuple[Candidate, Compiled | None, Step]:
    """Returns the quickest of those that fit, by the compiler's word where it was asked."""
    if not compiled:
        return ranked[0], None, ranked[0].step
    fitting = [result for result in compiled if not result[1].too_large]
    if not fitting:
        least = min(program.too_large for _, program, _ in compiled)
        raise UserError(
            f"{name}: does not fit {where.topology}: {ranked[0].layout} needs {least / 1e9:.1f} GB of each device's "
            f"{where.hbm / 1e9:.1f} GB; give --search, take more chips, or a smaller train.batch_size"
        )
    return min(fitting, key=lambda result: result[2].seconds)
