"""The model of time: fitted on some published runs, near those left out, and what its parts do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lm.model import cost
from lm.study.plan import duration
from lm.study.plan.chips import parse
from lm.study.plan.duration import Rates, estimate, fit
from lm.study.plan.published import RUNS
from lm.study.plan.work import Traffic, Work, work

RATES = Rates({"v5p": 0.5}, attention=0.5, hidden=0.5, waited=1.0)
WHERE = parse("v5p:4x4x4")


def test_each_run_has_the_figure_it_was_published_with() -> None:
    for run in RUNS:
        where, model = parse(run.topology), run.job.model
        tokens = run.job.tokens / run.seconds / where.chips
        assert tokens * cost.flops_per_token(model, model.max_seq_len) / where.chip.flops == pytest.approx(run.mfu)
    logged = next(run for run in RUNS if run.name == "Llama-3.1-8B on v6e")
    assert logged.seconds == pytest.approx(4.546, rel=2e-3)  # as in its log


def test_models_of_round_sizes_are_of_those_sizes() -> None:
    sizes = {"16B on v5e": 15.8e9, "32B on v5p": 31.7e9, "64B on v5p": 62.8e9, "128B on v5p": 125e9}
    for run in RUNS:
        if run.name in sizes:
            assert cost.n_params(run.job.model) == pytest.approx(sizes[run.name], rel=0.01)


def test_runs_left_out_are_met_within_the_error_that_is_printed() -> None:
    found = duration.calibration("v5p")
    assert set(found.errors) == {run.name for run in RUNS}
    on_tpus = [error for name, error in found.errors.items() if "H100" not in name]
    assert max(map(abs, on_tpus)) < 0.2
    assert found.error < 0.15
    assert duration.calibration("rtx4090").error > found.error  # of which no run is known


def test_an_error_is_of_a_fit_that_had_not_seen_the_run() -> None:
    run = RUNS[0]
    faster = replace(run, mfu=run.mfu * 1.2)
    others = [other for other in RUNS if other is not run]
    unseen = duration._error(run, fit(others))
    assert duration._error(faster, fit(others)) == pytest.approx((1 + unseen) * 1.2 - 1)


def test_a_fit_on_runs_without_noise_finds_what_made_them() -> None:
    made = Rates({"v5p": 0.8, "v6e": 0.6, "v5e": 0.9, "h100": 0.5}, attention=0.5, hidden=0.2, waited=0.75)
    runs = []
    for run in RUNS:
        seconds = estimate(work(run.job, run.layout), parse(run.topology), run.layout.mesh, made).seconds
        runs.append(replace(run, mfu=run.mfu * run.seconds / seconds))
    found = fit(runs)
    assert (found.attention, found.hidden, found.waited) == (0.5, 0.2, 0.75)
    assert found.products == pytest.approx(made.products)


def test_a_step_computes_updates_and_waits() -> None:
    traffic = (Traffic("fsdp", "all-gather", 1e9, False), Traffic("tensor", "all-reduce", 1e9, True))
    done = Work(
        product_flops=459e12, attention_flops=459e11, hbm_bytes=2 * 2765e9, update_bytes=2765e9, traffic=traffic
    )
    step = estimate(done, WHERE, {"fsdp": 16, "tensor": 4}, RATES)
    assert step.compute == pytest.approx(2.0 + 2 * 2 * 0.1)
    assert step.update == pytest.approx(1.0)
    assert step.wire == pytest.approx(0.5 * 1e9 / 400e9 + 1e9 / 200e9)
    assert step.seconds == step.compute + step.update + step.wire


def test_what_a_wire_takes_beyond_computing_cannot_be_hidden() -> None:
    done = Work(459e12, 0.0, 0.0, 0.0, (Traffic("fsdp", "all-gather", 6e12, False),))
    assert estimate(done, WHERE, {"fsdp": 64}, RATES).wire == pytest.approx(10.0 - 2.0)


def test_memory_bounds_a_step_that_computes_little() -> None:
    done = Work(1.0, 0.0, 3 * 2765e9, 2765e9, ())
    assert estimate(done, WHERE, {}, RATES).compute == pytest.approx(2.0)
