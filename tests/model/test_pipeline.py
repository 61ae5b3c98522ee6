"""The pipeline: its schedule beside a simulated one, and outputs, gradients and reports beside one stage's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model import pipeline
from lm.model.config import ModelConfig, Moe
from lm.train.step import loss_sums

from .architectures import parameters

SIZES = [(p, m, r) for p in range(1, 6) for r in range(1, 5) for m in range(1, 9) if r == 1 or m >= p]


def simulated(stages: int, microbatches: int, repeats: int) -> list[list[tuple[int, int] | None]]:
    """What each stage does in each tick, as (repeat, micro-batch), where each takes what is there and furthest behind.

    Stage s alone has groups s, s + P, …; a micro-batch may meet group g the tick after it met group g - 1.
    """
    met = [0] * microbatches  # groups that each has met
    table: list[list[tuple[int, int] | None]] = []
    while min(met) < stages * repeats:
        row: list[tuple[int, int] | None] = []
        for stage in range(stages):
            ready = [(met[m] // stages, m) for m in range(microbatches) if met[m] < stages * repeats]
            row.append(min((one for one in ready if met[one[1]] % stages == stage), default=None))
        for done in row:
            if done is not None:
                met[done[1]] += 1
        table.append(row)
    return table


@pytest.mark.parametrize(("stages", "microbatches", "repeats"), SIZES)
def test_the_schedule_is_that_of_stages_that_take_what_is_there(stages: int, microbatches: int, repeats: int) -> None:
    """In as many ticks as stated, of which the bubble is the share that is idle."""
    count = pipeline.ticks(stages, microbatches, repeats)
    turns = pipeline.turn(np.arange(count)[:, None], np.arange(stages), microbatches, repeats)
    repeat, microbatch, useful = (np.asarray(part) for part in turns)
    found = [
        [(int(repeat[t, s]), int(microbatch[t, s])) if useful[t, s] else None for s in range(stages)]
        for t in range(count)
    ]
    assert found == simulated(stages, microbatches, repeats)
    idle = 1 - useful.mean()
    assert pipeline.bubble(stages, microbatches, repeats) == pytest.approx(idle)


@pytest.mark.parametrize(("stages", "repeats"), [(p, r) for p in range(1, 9) for r in range(1, 9)])
def test_each_group_moves_once_from_where_it_is_stored_to_where_it_runs(stages: int, repeats: int) -> None:
    """Every stage sends one and receives one in each round."""
    rounds = pipeline.moves(stages, repeats)
    for one in rounds:
        assert sorted(move.source for move in one) == sorted(move.target for move in one) == list(range(stages))
    every = [move for one in rounds for move in one]
    groups = [move.source * repeats + move.stored for move in every]
    assert sorted(groups) == list(range(stages * repeats))
    assert [move.repeat * stages + move.target for move in every] == groups


ROWS, LENGTH = 12, 8
DENSE = ModelConfig(
    vocab_size=24, n_layers=8, n_heads=2, n_kv_heads=2, d_model=16, d_ff=16, head_width=8, max_seq_len=LENGTH,
    window=(3, 0), dropout=0.1, value_residual=True,
)  # fmt: skip
EXPERTS = replace(DENSE, window=0, value_residual=False, moe=Moe(4, d_ff=8, z_weight=0.1))
CASES: dict[str, list[tuple[ModelConfig, dict[str, int]]]] = {
    "once": [(replace(EXPERTS, pipeline_microbatches=6), {"pipeline": 4})],
    "twice": [(replace(EXPERTS, pipeline_microbatches=6, pipeline_repeats=2), {"pipeline": 4})],
    "others": [
        (replace(EXPERTS, pipeline_microbatches=4, pipeline_repeats=2, remat="block"), {"pipeline": 4}),
        (replace(DENSE, pipeline_microbatches=1), {"pipeline": 2, "data": 2}),
        (replace(DENSE, pipeline_microbatches=3, pipeline_repeats=2, remat="dots"), {"pipeline": 2, "fsdp": 2}),
        (replace(EXPERTS, n_layers=12, pipeline_repeats=3), {"pipeline": 2, "tensor": 2}),
    ],
}


def computed(cfg: ModelConfig, sizes: dict[str, int]) -> Any:
    """The loss with what layers report, and its gradient, on a mesh; padding and the masked are spread unevenly."""
    rng = np.random.default_rng(0)
    shape = (ROWS, LENGTH)
    batch = {
        "tokens": rng.integers(0, cfg.vocab_size, shape, np.int32),
        "targets": rng.integers(0, cfg.vocab_size, shape, np.int32),
        "segments": (np.arange(LENGTH) < rng.integers(2, LENGTH + 1, (ROWS, 1))).astype(np.int32),
        "positions": np.broadcast_to(np.arange(LENGTH, dtype=np.int32), shape),
        "loss_mask": rng.random(shape).astype(np.float32),
        "index": np.arange(ROWS, dtype=np.int32),
    }

    def objective(params: Any) -> tuple[jax.Array, Any]:
        sums = loss_sums(cfg, params, batch, jax.random.key(1))
        losses = [leaf.sum() for leaf in jax.tree.leaves(sums.reports) if leaf.dtype == np.float32]
        return sums.nats + sum(losses), sums

    mesh = meshes.make_mesh({axis: sizes.get(axis, 1) for axis in meshes.AXES}, jax.devices()[: 4 if sizes else 1])
    # What is compiled here runs once: compiling it quickly is worth more than running it quickly.
    program = jax.jit(
        jax.value_and_grad(objective, has_aux=True), compiler_options={"xla_backend_optimization_level": 0}
    )
    with jax.set_mesh(mesh):
        return jax.tree.map(np.asarray, program(parameters(cfg)))


def main() -> None:
    """Prints for each case how far it is from one stage, relative to the largest number of each array."""
    alone: dict[Any, Any] = {}
    worst = []
    for cfg, sizes in (case for name in sys.argv[1:] for case in CASES[name]):
        plain = replace(cfg, pipeline_microbatches=0, pipeline_repeats=1, remat="none")
        if plain not in alone:
            alone[plain] = computed(plain, {})
        pairs = zip(jax.tree.leaves(computed(cfg, sizes)), jax.tree.leaves(alone[plain]), strict=True)
        worst.append(max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)) for a, b in pairs))
    print(json.dumps(worst))


@pytest.mark.parametrize("names", [["once", "twice"], pytest.param(["others"], marks=pytest.mark.slow)])
def test_going_round_equals_one_stage(names: list[str]) -> None:
    """Loss, reports of routers and every gradient, with dropout, once and several times round, on 4 devices."""
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run(
        [sys.executable, "-c", "from tests.model import test_pipeline; test_pipeline.main()", *names],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    worst = json.loads(done.stdout)
    assert len(worst) == sum(len(CASES[name]) for name in names)
    assert max(worst) < 2e-5, worst


@pytest.mark.parametrize(
    ("changes", "stages", "message"),
    [
        ({"n_layers": 12}, 4, r"mesh.pipeline=4 × model.pipeline_repeats=2 groups: 12 layers that repeat every 2 do"),
        ({"n_layers": 9}, 2, "9 layers that repeat every 2 do not divide"),
        ({"pipeline_microbatches": 1}, 2, "model.pipeline_microbatches=1: .* use at least mesh.pipeline=2"),
        ({"scan_layers": False}, 2, "mesh.pipeline=2: stages run loops"),
    ],
)
def test_what_cannot_go_round_is_refused(changes: dict[str, Any], stages: int, message: str) -> None:
    cfg = replace(DENSE, pipeline_repeats=2)
    pipeline.check(cfg, 2)
    with pytest.raises(UserError, match=message):
        pipeline.check(replace(cfg, **changes), stages)
    pipeline.check(replace(cfg, **changes), 1)


def test_going_round_no_times_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.pipeline_repeats=0: must be at least 1"):
        replace(DENSE, pipeline_repeats=0)
