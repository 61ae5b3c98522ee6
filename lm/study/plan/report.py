"""A plan as one object, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lm.common.columns import columns
from lm.common.progress import duration as clock
from lm.common.progress import quantity, size
from lm.model import cost
from lm.study.plan.chips import Slice
from lm.study.plan.compile import Compiled
from lm.study.plan.duration import Calibration, Step
from lm.study.plan.layout import Job
from lm.study.plan.search import Candidate
from lm.study.plan.work import Traffic

DAY = 24 * 3600


@dataclass(frozen=True)
class Plan:
    """Everything that `lm plan` says.

    Attributes:
        name: the config.
        where: the slice it is for.
        job: what a step computes.
        chosen: the layout, and what it takes on paper.
        step: the estimate of its time, from what the compiler says where it was asked.
        steps: of the run.
        calibration: of the estimate.
        compiled: what the compiler says of a training step; None where it was not asked.
        decode: and of a step of decoding.
        reasons: why this layout.
        others: what else was compiled.
        price: US dollars of a chip for an hour; None if unknown.
    """

    name: str
    where: Slice
    job: Job
    chosen: Candidate
    step: Step
    steps: int
    calibration: Calibration
    compiled: Compiled | None = None
    decode: Compiled | None = None
    reasons: tuple[str, ...] = ()
    others: tuple[tuple[Candidate, Compiled, Step], ...] = field(default=())
    price: float | None = None

    @property
    def seconds(self) -> float:
        """Of a step: as it was timed, else as it is estimated."""
        timed = self.compiled.step_seconds if self.compiled else None
        return timed if timed is not None else self.step.seconds

    @property
    def model_flops(self) -> float:
        """Operations of a step that the model asks for, nothing computed again, on each chip."""
        each = cost.flops_per_token(self.job.model, self.job.model.max_seq_len)
        return self.job.tokens * each / self.where.chips

    @property
    def flops_per_chip(self) -> float:
        """Operations of products that each chip computes in a step: as compiled, with its kernels', else on paper."""
        work = self.chosen.work
        products = self.compiled.flops if self.compiled and self.compiled.flops else work.product_flops
        kernels = work.attention_flops if not self.compiled or self.compiled.kernels else 0.0
        return self.where.chip.cores * (products + kernels)

    @property
    def mfu(self) -> float:
        """The share of the chips' peak that the model's own operations take."""
        return self.model_flops / (self.seconds * self.where.chip.flops)

    @property
    def days(self) -> float:
        """How long the run takes, if nothing breaks."""
        return self.steps * self.seconds / DAY

    @property
    def cost(self) -> float | None:
        """US dollars of the run."""
        return None if self.price is None else self.days * 24 * self.where.chips * self.price


def text(plan: Plan) -> str:
    """Returns the plan for a terminal."""
    where, layout = plan.where, plan.chosen.layout
    head = [
        ["config", plan.name],
        [
            "slice",
            f"{where.topology}: {where.chips} × {size(where.chip.hbm)} and {quantity(where.chip.flops)}FLOP/s",
        ],
        ["batch", f"{plan.job.rows:,} × {plan.job.model.max_seq_len:,} = {quantity(plan.job.tokens)} tokens"],
        ["layout", str(layout)],
    ]
    parts = [columns(head), _memory(plan), _work(plan), _wire(plan), columns(_time(plan))]
    if plan.decode:
        parts.append(columns(_decoding(plan.decode)))
    if plan.others:
        parts.append(_alternatives(plan))
    if plan.reasons:
        parts.append(list(plan.reasons))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _memory(plan: Plan) -> list[str]:
    memory, compiled, room = plan.chosen.memory, plan.compiled, f"of {size(plan.where.hbm)}"
    rows = [["memory of a device", "paper", "compiler"]]
    rows += [[f"  {kind}", size(needed)] for kind, needed in memory.kinds.items()]
    total = ["  at the peak", size(memory.total)]
    if compiled and compiled.memory:
        kinds = [(kind, needed) for kind, needed in compiled.memory.items() if kind != "peak" and needed]
        rows += [[f"  {kind}", "", size(needed)] for kind, needed in kinds]
        total += [size(compiled.peak), f"{room}; paper {memory.total / compiled.peak - 1:+.1%}"]
    else:
        total += ["", room]
    return columns([*rows, total], right={1, 2})


def _work(plan: Plan) -> list[str]:
    work, compiled = plan.chosen.work, plan.compiled
    rows = [["work of a device in a step", "paper", "compiler"]]
    products = [
        ["  FLOPs of products", operations(work.product_flops)],
        ["  FLOPs of attention", operations(work.attention_flops)],
    ]
    memory = [["  bytes of memory, at least", size(work.hbm_bytes)]]
    if compiled and compiled.flops:
        products[0].append(operations(compiled.flops))
        memory[0] += [size(compiled.own["bytes accessed"]), "loops counted once"]
    return columns([*rows, *products, *memory], right={1, 2})


def _wire(plan: Plan) -> list[str]:
    paper = _by_axis(plan.chosen.work.traffic)
    compiled = _by_axis(plan.compiled.traffic) if plan.compiled else {}
    if not paper and not compiled:
        return []
    rows = [["from other devices in a step", "paper", "compiler"]]
    for key in sorted({*paper, *compiled}):
        cells = [size(table[key]) if key in table else "" for table in (paper, compiled)]
        if max(table.get(key, 0.0) for table in (paper, compiled)) > 1e6:
            rows.append([f"  {key[1]} along {key[0]}", *cells])
    return columns(rows, right={1, 2})


def operations(flops: float) -> str:
    """Formats a number of operations, which outgrows what `quantity` has names for."""
    return f"{flops / 1e15:.3g}P" if flops >= 1e15 else quantity(flops)


def _by_axis(traffic: Sequence[Traffic]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for each in traffic:
        found[each.axis, each.kind] = found.get((each.axis, each.kind), 0.0) + each.bytes
    return found


def _time(plan: Plan) -> list[list[str]]:
    step, error = plan.step, plan.calibration.error
    timed = plan.compiled.step_seconds if plan.compiled else None
    parts = f"{step.compute:.3g} s computing, {step.update:.2g} s updating, {step.wire:.2g} s waiting for other devices"
    rows = [["a step", f"{step.seconds:.3g} s ± {error:.0%}: {parts}"]]
    if timed is not None:
        rows[0] = ["a step", f"{timed:.3g} s, timed"]
    if plan.compiled and (optimal := plan.compiled.own.get("optimal_seconds", 0.0)) > 0:  # it may know of none
        rows.append(["", f"the compiler's own bound, loops counted once: {optimal:.2g} s"])
    tokens = plan.steps * plan.job.tokens
    spread = "" if timed is not None else f" ± {error:.0%}"
    rows.append(
        ["MFU", f"{plan.mfu:.1%}{spread}, {plan.job.tokens / plan.seconds / plan.where.chips:,.0f} tokens/s a chip"]
    )
    rows.append(["the run", f"{quantity(tokens)} tokens in {plan.steps:,} steps: {plan.days:,.1f} days{spread}"])
    if plan.cost is not None:
        rows[-1][1] += f", {plan.cost:,.0f} USD at {plan.price:.2f} USD a chip and hour (--price sets it)"
    return rows


def _decoding(decode: Compiled) -> list[list[str]]:
    if decode.too_large:
        return [["decoding", f"does not fit: it would need {size(decode.too_large)} of a device"]]
    return [["decoding", f"{size(decode.peak)} of a device, {operations(decode.flops)}FLOPs a token of each row"]]


def _alternatives(plan: Plan) -> list[str]:
    rows = [["compiled as well", "step", "memory", "compiled in"]]
    for candidate, compiled, step in plan.others:
        fits = size(compiled.peak) if not compiled.too_large else f"too large: {size(compiled.too_large)}"
        rows.append([f"  {candidate.layout}", f"{step.seconds:.3g} s", fits, clock(compiled.seconds)])
    return columns(rows, right={1})


def as_json(plan: Plan) -> dict[str, Any]:
    """Returns the plan as plain data; `error` is of `step_seconds`, as a share of it."""
    cores, compiled = plan.where.chip.cores, plan.compiled
    timed = compiled is not None and compiled.step_seconds is not None
    traffic = compiled.traffic if compiled else plan.chosen.work.traffic
    return {
        "config": plan.name,
        "topology": plan.where.topology,
        "chips": plan.where.chips,
        "mesh": plan.chosen.layout.mesh,
        "remat": plan.chosen.layout.remat,
        "microbatches": plan.chosen.layout.microbatches,
        "memory_bytes_per_chip": {
            "paper": cores * plan.chosen.memory.total,
            "compiler": cores * compiled.peak if compiled else None,
            "available": plan.where.chip.hbm,
            "paper_by_kind": {kind: cores * n for kind, n in plan.chosen.memory.kinds.items()},
            "compiler_by_kind": {kind: cores * n for kind, n in compiled.memory.items()} if compiled else None,
        },
        "flops_per_chip": plan.flops_per_chip,
        "step_seconds": plan.seconds,
        "estimate": asdict(plan.step),
        "mfu": plan.mfu,
        "error": 0.0 if timed else plan.calibration.error,
        "calibration": plan.calibration.errors,
        "traffic_bytes_per_device": [each._asdict() for each in traffic],
        "tokens": plan.steps * plan.job.tokens,
        "days": plan.days,
        "usd": plan.cost,
        "compile_seconds": compiled.seconds if compiled else None,
        "compile_host_bytes": compiled.host_bytes if compiled else None,
        "decode": asdict(plan.decode) if plan.decode else None,
        "others": [
            {"mesh": c.layout.mesh, "remat": c.layout.remat, "microbatches": c.layout.microbatches,
             "step_seconds": s.seconds, "memory_bytes_per_device": k.peak}
            for c, k, s in plan.others
        ],
        "reasons": list(plan.reasons),
    }  # fmt: skip
