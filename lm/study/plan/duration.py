"""How long a step takes: a stated model with a few numbers fitted to published runs, and its error on those left out.

A step computes, and meanwhile waits for its memory where that is slower; then it updates the parameters, as fast as
memory goes. What comes from other devices arrives in part while something is computed:

    seconds = max((products + attention / a) / (e · peak), bytes / bandwidth) + update bytes / bandwidth
              + x · (what comes meanwhile) + y · (what is waited for), the former at least what computing leaves over

with e the share of its peak that a generation of chips reaches in products, a the share of that which attention
reaches, and x and y the shares of the time on the wire that are not hidden.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import NamedTuple

from lm.study.plan.chips import Slice, axis_bandwidth, parse
from lm.study.plan.published import RUNS, Published
from lm.study.plan.work import Work, work

# Among these the fit chooses; attention's and the wire's shares are the same on all chips.
ATTENTION = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
HIDDEN = (0.0, 0.1, 0.2, 0.3, 0.5)
WAITED = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Rates:
    """The fitted numbers: `products` by chip, and what is taken for chips without a published run."""

    products: dict[str, float]
    attention: float
    hidden: float
    waited: float

    def of(self, chip: str) -> float:
        """Returns the share of its peak that a chip reaches in products."""
        return self.products.get(chip, fmean(self.products.values()))


@dataclass(frozen=True)
class Step:
    """Seconds of a step by what they are spent on; `wire` is what of communication is not hidden."""

    compute: float
    update: float
    wire: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.compute + self.update + self.wire


@dataclass(frozen=True)
class Calibration:
    """Rates fitted on all runs, and for each run the relative error of a fit that had not seen it.

    `error` is what to expect of an estimate: the root mean square of the errors for chips of which there are several
    runs, or for the chip's own if that is more; where no run is of the chip, that of fits that had seen no run of the
    chip they were tried on.
    """

    rates: Rates
    errors: dict[str, float]
    error: float


class Ideal(NamedTuple):
    """Seconds that each part of a step would take alone, at the rates of the data sheet; `memory` while computing."""

    products: float
    attention: float
    memory: float
    update: float
    meanwhile: float
    waited: float


def ideal(done: Work, where: Slice, sizes: Mapping[str, int]) -> Ideal:
    """Returns how long the parts of work take on a slice whose mesh has these sizes."""
    wire = {True: 0.0, False: 0.0}
    for each in done.traffic:
        devices = math.prod(sizes[axis] for axis in each.axis.split(" × "))
        wire[each.exposed] += each.bytes / axis_bandwidth(where, devices)
    memory, update = (size / where.bandwidth for size in (done.hbm_bytes - done.update_bytes, done.update_bytes))
    return Ideal(
        done.product_flops / where.flops, done.attention_flops / where.flops, memory, update, wire[False], wire[True]
    )


def estimate(done: Work, where: Slice, sizes: Mapping[str, int], rates: Rates) -> Step:
    """Returns how long work takes on a slice whose mesh has these sizes."""
    return _stretched(ideal(done, where, sizes), rates.of(where.chip.name), rates)


def _stretched(parts: Ideal, reached: float, rates: Rates) -> Step:
    compute = max((parts.products + parts.attention / rates.attention) / reached, parts.memory)
    wire = max(rates.hidden * parts.meanwhile, parts.meanwhile - compute) + rates.waited * parts.waited
    return Step(compute, parts.update, wire)


def fit(runs: Sequence[Published]) -> Rates:
    """Returns the rates under which the estimates of these runs have the least squared relative error."""
    shares = itertools.product(ATTENTION, HIDDEN, WAITED)
    candidates = [Rates(_products(runs, *share), *share) for share in shares]
    return min(candidates, key=lambda rates: sum(_error(run, rates) ** 2 for run in runs))


def _products(runs: Sequence[Published], *shares: float) -> dict[str, float]:
    """Returns for each chip the share of its peak that its runs reached, given what else took their time."""
    found: dict[str, list[float]] = {}
    for run in runs:
        step = _stretched(_ideal(run), 1.0, Rates({}, *shares))
        found.setdefault(_chip(run), []).append(step.compute / max(run.seconds - step.update - step.wire, step.compute))
    return {chip: fmean(values) for chip, values in found.items()}


@lru_cache(maxsize=64)
def _ideal(run: Published) -> Ideal:
    return ideal(work(run.job, run.layout), parse(run.topology), run.layout.mesh)


def _chip(run: Published) -> str:
    return run.topology.partition(":")[0]


def _error(run: Published, rates: Rates) -> float:
    """Returns by how much the estimate of a run is too long, as a share of what it took."""
    return _stretched(_ideal(run), rates.of(_chip(run)), rates).seconds / run.seconds - 1


@lru_cache(maxsize=1)
def _fits() -> tuple[Rates, dict[str, float], float]:
    """Fits the rates on all runs, on all but each in turn, and on all but those of each chip."""
    errors = {run.name: _error(run, fit([other for other in RUNS if other is not run])) for run in RUNS}
    strange = []
    for chip in {_chip(run) for run in RUNS}:
        rates = fit([run for run in RUNS if _chip(run) != chip])
        strange += [_error(run, rates) for run in RUNS if _chip(run) == chip]
    return fit(RUNS), errors, _rms(strange)


def _rms(errors: Sequence[float]) -> float:
    return math.sqrt(fmean(error**2 for error in errors))


def calibration(chip: str) -> Calibration:
    """Returns the calibration of estimates for a chip."""
    rates, errors, strange = _fits()
    of_chip: dict[str, list[float]] = {}
    for run in RUNS:
        of_chip.setdefault(_chip(run), []).append(errors[run.name])
    several = [error for own in of_chip.values() if len(own) > 1 for error in own]  # else the rest say nothing of it
    own = of_chip.get(chip)
    return Calibration(rates, errors, max(_rms(several), _rms(own)) if own else strange)
