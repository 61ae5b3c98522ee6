"""Layouts that a job could have on a slice, the impossible left out, the others ranked by their estimated time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from lm.study.plan import duration, paper
from lm.study.plan.chips import Slice
from lm.study.plan.duration import Rates, Step
from lm.study.plan.layout import Job, Layout, misfit
from lm.study.plan.work import Work, work

REMATS = ("none", "dots", "block")
# A device's memory that a layout may fill on paper; the compiler's own needs and what lies between arrays take more.
FILLED = 0.9
MOST_TENSOR = 16  # beyond, what is waited for outgrows what is computed
MOST_PARTS = 64  # micro-batches of a batch


@dataclass(frozen=True)
class Candidate:
    """One layout with what it takes on paper; bytes and seconds are a device's."""

    layout: Layout
    memory: paper.Memory
    work: Work
    step: Step


@dataclass
class Search:
    """What was looked at: candidates by time, quickest first, and how many were left out, by reason."""

    found: list[Candidate] = field(default_factory=list)
    misfits: int = 0
    too_large: int = 0
    smallest: int | None = None

    @property
    def by_mesh(self) -> list[Candidate]:
        """The quickest of each mesh, quickest first."""
        best: dict[tuple[int, ...], Candidate] = {}
        for candidate in self.found:
            best.setdefault(tuple(candidate.layout.mesh.values()), candidate)
        return list(best.values())


def consider(job: Job, layout: Layout, where: Slice, rates: Rates) -> Candidate:
    """Returns what a layout takes on a slice."""
    done = work(job, layout)
    return Candidate(layout, paper.memory(job, layout), done, duration.estimate(done, where, layout.mesh, rates))


def search(
    job: Job, where: Slice, rates: Rates, *, remats: Sequence[str] = REMATS, microbatches: int | None = None
) -> Search:
    """Considers every layout over data, fsdp, tensor, and context or expert where the model has them.

    Where `microbatches` is open, the fewest that fit are taken, since more never save time.
    """
    found = Search()
    for mesh in meshes(job, where.devices):
        options = [microbatches] if microbatches else _powers(job.rows // mesh.batch_parts)
        options = [parts for parts in options if not misfit(job, replace(mesh, microbatches=parts))]
        if not options:
            found.misfits += 1
            continue
        for remat in remats:
            layouts = [replace(mesh, remat=remat, microbatches=parts) for parts in options]
            fits = next((layout for layout in layouts if _fits(job, layout, where, found)), None)
            if fits is None:
                found.too_large += 1
            else:
                found.found.append(consider(job, fits, where, rates))
    found.found.sort(key=lambda candidate: (candidate.step.seconds, candidate.memory.total))
    return found


def _powers(most: int) -> list[int]:
    return [1 << n for n in range(MOST_PARTS.bit_length()) if 1 << n <= min(most, MOST_PARTS)]


def _fits(job: Job, layout: Layout, where: Slice, found: Search) -> bool:
    needed = paper.memory(job, layout).total
    found.smallest = min(needed, found.smallest or needed)
    return needed <= FILLED * where.hbm


def meshes(job: Job, devices: int) -> Iterator[Layout]:
    """Yields every split of the devices; of `tensor` and `context` no more than helps or the model has."""
    ring = job.model.attention_backend == "ring"
    experts = max((layer.n_experts for layer in job.model.layers), default=0)
    for tensor in _divisors(math.gcd(devices, job.model.n_kv_heads), MOST_TENSOR):
        for context in _divisors(devices // tensor, devices if ring else 1):
            rest = devices // (tensor * context)
            for expert in _divisors(math.gcd(rest, experts), experts) if experts else [1]:
                for fsdp in _divisors(rest // expert, devices):
                    data = rest // (expert * fsdp)
                    yield Layout(data=data, fsdp=fsdp, tensor=tensor, context=context, expert=expert)


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]


def reasons(found: Search, best: Candidate, where: Slice, compiled: Sequence[tuple[Candidate, Step]] = ()) -> list[str]:
    """Says in plain sentences why a layout came out best: of those compiled, where there are several, else on paper."""
    kinds = best.memory.kinds
    state = kinds["parameters"] + kinds["optimizer"]
    several = len(compiled) > 1
    field = f"{len(found.found)} layouts that fit on paper"
    said = [
        f"{best.layout} is the quickest of "
        + (f"the {len(compiled)} that were compiled, which are the best meshes of {field}" if several else field)
        + f"; {found.misfits} meshes do not divide the model or the batch, and {found.too_large} layouts would take "
        f"more than {FILLED:.0%} of a device's {where.hbm / 1e9:.0f} GB.",
        f"Parameters and moments take {state / 1e9:.1f} GB a device, "
        + ("split over all." if best.layout.data == 1 else f"{best.layout.data} copies in all."),
    ]
    others = [c for c in found.by_mesh if c.layout.mesh != best.layout.mesh]
    steps = [(c, step) for c, step in compiled if c is not best] if several else [(c, c.step) for c in others]
    if steps:
        other, step = min(steps, key=lambda pair: pair[1].seconds)
        own = next((step for c, step in compiled if c is best), best.step) if several else best.step
        slower = step.seconds / own.seconds - 1
        said.append(f"The next mesh, {other.layout}, is {slower:.1%} slower: {_difference(own, step)}.")
    tensor = next((c for c in others if c.layout.tensor > best.layout.tensor), None)
    if tensor and tensor is not steps[0][0]:
        said.append(
            f"More of tensor ({tensor.layout}) waits {tensor.step.wire:.2f} s of a step for other devices, against "
            f"{best.step.wire:.2f} s."
        )
    less = {"block": "dots", "dots": "none"}.get(best.layout.remat)
    if less:
        said.append(_why_remat(found, best, less))
    return said


def _difference(best: Step, other: Step) -> str:
    """Says what a slower step spends its time on."""
    parts = {
        "computes": other.compute - best.compute,
        "updates parameters": other.update - best.update,
        "waits for other devices": other.wire - best.wire,
    }
    name, seconds = max(parts.items(), key=lambda item: item[1])
    return f"it {name} {seconds:.2f} s longer"


def _why_remat(found: Search, best: Candidate, less: str) -> str:
    """Says why more is computed again than need be."""
    same = [c for c in found.found if c.layout.mesh == best.layout.mesh and c.layout.remat == less]
    if not same:
        return f"Keeping more for the backward pass (remat {less}) does not fit on this mesh."
    parts = same[0].layout.microbatches
    return (
        f"Keeping more for the backward pass (remat {less}) needs {parts} micro-batches and would be "
        f"{same[0].step.seconds / best.step.seconds - 1:.1%} slower."
    )
