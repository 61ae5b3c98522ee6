"""Schedules at their corners, and the batch plan against adding up step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.train.schedule import BatchPlan, cosine, make_schedule, warmup_stable_decay, warmup_steps


def test_cosine_corners() -> None:
    factor = cosine(steps=110, warmup=10, final=0.1)
    expected = {0: 0.1, 9: 1.0, 10: 1.0, 60: 0.55, 110: 0.1, 500: 0.1}
    np.testing.assert_allclose([factor(step) for step in expected], list(expected.values()), rtol=1e-6)


def test_warmup_stable_decay_corners() -> None:
    factor = warmup_stable_decay(steps=100, warmup=4, decay=20, final=0.1)
    expected = {0: 0.25, 3: 1.0, 50: 1.0, 80: 1.0, 90: 0.55, 100: 0.1}
    np.testing.assert_allclose([factor(step) for step in expected], list(expected.values()), rtol=1e-6)


def test_warmup_is_a_share_of_the_run_and_at_least_one_step() -> None:
    assert [warmup_steps(0.02, n) for n in (1000, 10)] == [20, 1]


def test_unknown_schedule_is_refused() -> None:
    with pytest.raises(UserError, match=r"schedule.name=linear: choose cosine or wsd"):
        make_schedule(ConfigDict({"name": "linear", "warmup_fraction": 0.1}), 10)


@pytest.mark.parametrize("plan", [BatchPlan(16), BatchPlan(16, 4, 10), BatchPlan(32, 32, 5), BatchPlan(8, 1, 100)])
def test_first_example_is_the_sum_of_sizes(plan: BatchPlan) -> None:
    sizes = [plan.size(step) for step in range(150)]
    assert [plan.first_example(step) for step in range(151)] == [0, *np.cumsum(sizes).tolist()]
    assert sizes[0] == (plan.ramp_from or plan.batch_size)
    assert sizes[plan.ramp_steps :] == [plan.batch_size] * (150 - plan.ramp_steps)
    assert all(later in (size, 2 * size) for size, later in itertools.pairwise(sizes))


@pytest.mark.parametrize("start", [3, 32])
def test_a_ramp_that_cannot_double_is_refused(start: int) -> None:
    with pytest.raises(
        UserError, match=f"train.ramp.batch_size={start}: must be train.batch_size=16 halved some times"
    ):
        BatchPlan(16, start, 10)


@pytest.mark.parametrize(("size", "steps"), [(4, 0), (0, 10)])
def test_half_a_ramp_is_refused(size: int, steps: int) -> None:
    with pytest.raises(UserError, match="set both above 0"):
        BatchPlan(16, size, steps)
