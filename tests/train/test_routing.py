"""Experts in training: losses that do not depend on micro-batches or meshes, and loads that even out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jobs
from lm.common.mesh import AXES, make_mesh
from lm.model.config import ModelConfig, Moe
from lm.train import routing
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import TrainState, init_state
from lm.train.step import make_step, place

CFG = ModelConfig(32, 1, 2, 2, 16, 16, 8, 16, mlp_bias=True, moe=Moe(8))
ALL = Moe(8, shared_d_ff=16, z_weight=1e-3, balance_weight=0.05)


def batch(rows: int = 8) -> dict[str, np.ndarray]:
    """Rows with more and more padding, and targets that are counted here and there."""
    rng = np.random.default_rng(0)
    tokens_BL = rng.integers(0, CFG.vocab_size, (rows, CFG.max_seq_len + 1)).astype(np.int32)
    place_BT = np.broadcast_to(np.arange(CFG.max_seq_len, dtype=np.int32), (rows, CFG.max_seq_len))
    real_BT = place_BT < CFG.max_seq_len - np.arange(rows)[:, None]
    return {
        "tokens": tokens_BL[:, :-1],
        "targets": tokens_BL[:, 1:],
        "segments": real_BT.astype(np.int32),
        "positions": place_BT,
        "loss_mask": (real_BT & (rng.random(real_BT.shape) < 0.6)).astype(np.float32),
        "index": np.arange(rows, dtype=np.int32),
    }


def run(
    model: ModelConfig,
    steps: int,
    *,
    sizes: dict[str, int] | None = None,
    name: str = "adamw",
    peak_lr: float = 1e-2,
    sharpen: float = 1.0,
    **options: Any,
) -> tuple[TrainState, list[dict[str, float]]]:
    """Trains on one batch; `sharpen` multiplies the routers at the start, so that their loads are far from even."""
    cfg = pretrain().optimizer
    cfg.name, cfg.peak_lr = name, peak_lr
    optimizer = Optimizer.from_config(cfg, cosine(100, 1, 0.1))
    mesh = make_mesh({axis: (sizes or {}).get(axis, 1) for axis in AXES})
    state = init_state(model, optimizer, mesh, seed=0)
    sharper = jax.tree_util.tree_map_with_path(
        lambda path, a: a * sharpen if "router" in jax.tree_util.keystr(path) else a, state.params
    )
    state = state._replace(params=sharper)
    step, found = make_step(model, optimizer, mesh, seed=0, **options), []
    with jax.set_mesh(mesh):
        for _ in range(steps):
            state, metrics = step(state, place(batch(), mesh, len(batch()["index"])))
            found.append({key: float(value) for key, value in metrics.items()})
    return state, found


@cache
def whole(model: ModelConfig) -> list[dict[str, float]]:
    return run(model, 3)[1]


@pytest.mark.parametrize("moe", [ALL, Moe(8, balance="bias", balance_rate=0.05)], ids=["loss", "bias"])
def test_micro_batches_change_nothing(moe: Moe) -> None:
    """Neither losses nor loads nor what follows from them, though padding and targets fall unevenly."""
    model = replace(CFG, moe=moe)
    for one, other in zip(whole(model), run(model, 3, microbatches=4)[1], strict=True):
        assert other == pytest.approx(one, rel=2e-4)


def test_weights_change_the_gradient_and_not_the_loss() -> None:
    """The first step's loss is plain cross-entropy; what is learned from it is not the same."""
    (one, *_), (other, *_) = (
        whole(replace(CFG, moe=moe)) for moe in (ALL, replace(ALL, balance_weight=1.0, z_weight=0.5))
    )
    assert other["train/loss"] == one["train/loss"]
    assert abs(other["train/grad_norm"] / one["train/grad_norm"] - 1) > 1e-3


def test_metrics_are_by_token_and_layer() -> None:
    """Two layers of one stack, four tokens that chose two experts each."""
    reports = {
        "block_0": {
            "load": jnp.asarray([[4.0, 4.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]]),
            "balance": jnp.asarray([8.0, 4.0]),
            "z": jnp.asarray([1.0, 2.0]),
            "dropped": jnp.asarray([3.0, 1.0]),
        }
    }
    assert routing.metrics(reports, jnp.asarray(4)) == {
        "train/moe_balance": 1.5,
        "train/moe_z": 0.375,
        "train/moe_load": 2.0,
        "train/moe_dropped": 0.25,
    }
    assert float(routing.penalty(Moe(4, balance_weight=0.5, z_weight=2.0), reports)) == 0.5 * 12 + 2 * 3
    assert float(routing.penalty(Moe(4, balance="none", z_weight=2.0), reports)) == 2 * 3
    assert routing.metrics({}, jnp.asarray(4)) == {}
    assert float(routing.penalty(Moe(), {})) == 0.0


def test_biases_move_by_the_sign_of_what_is_missing_and_by_nothing_else() -> None:
    """The optimizer leaves them alone, decay and momentum included; a load that is even moves nothing."""
    params = {"layers": {"block_0": {"moe": {"router": {"balance": jnp.zeros((1, 4)), "kernel": jnp.ones((1, 2, 4))}}}}}
    reports = {"block_0": {"load": jnp.asarray([[5.0, 1.0, 2.0, 0.0]])}}
    moved = routing.rebalance(params, reports, 0.1)["layers"]["block_0"]["moe"]["router"]
    np.testing.assert_allclose(moved["balance"], [[-0.1, 0.1, 0.0, 0.1]], rtol=1e-6)
    np.testing.assert_array_equal(moved["kernel"], 1.0)
    for name in ("adamw", "muon"):
        cfg = pretrain().optimizer
        cfg.name, cfg.peak_lr = name, 0.1
        optimizer = Optimizer.from_config(cfg, cosine(10, 1, 0.1))
        started = jax.tree.map(lambda a: a + 1.0, params)
        new, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), started)
        np.testing.assert_array_equal(new["layers"]["block_0"]["moe"]["router"]["balance"], 1.0)
        assert np.all(new["layers"]["block_0"]["moe"]["router"]["kernel"] != 2.0)


def test_a_step_that_is_left_out_moves_no_bias() -> None:
    model = replace(CFG, moe=Moe(8, balance="bias", balance_rate=0.05))
    cfg = pretrain().optimizer
    cfg.peak_lr = 0.1
    optimizer = Optimizer.from_config(cfg, cosine(10, 1, 0.1))
    mesh = make_mesh(dict.fromkeys(AXES, 1))
    state = init_state(model, optimizer, mesh, seed=0)
    before = jax.tree.map(np.asarray, state.params)
    broken = {**batch(), "loss_mask": np.full_like(batch()["loss_mask"], np.inf)}
    after, _ = make_step(model, optimizer, mesh, seed=0, skip_nonfinite=True)(state, place(broken, mesh, 8))
    jax.tree.map(np.testing.assert_array_equal, after.params, before)


@pytest.mark.parametrize(
    ("moe", "peak_lr"),
    [(Moe(8, balance="bias", balance_rate=0.005), 1e-4), (Moe(8, balance_weight=1.0), 1e-2)],
    ids=["bias", "loss"],
)
def test_loads_even_out(moe: Moe, peak_lr: float) -> None:
    """From a router that sends most tokens to few experts; by biases even where the router itself hardly moves."""
    _, found = run(replace(CFG, moe=moe), 80, sharpen=3.0, peak_lr=peak_lr)
    assert found[0]["train/moe_load"] > 2.5
    assert found[-1]["train/moe_load"] < 1.7


def test_training_learns() -> None:
    """One batch is learned by heart, with Muon on every expert's matrices."""
    _, found = run(replace(CFG, moe=replace(ALL, first_dense=1), n_layers=2), 40, name="muon")
    assert found[-1]["train/loss"] < 0.6 * found[0]["train/loss"]


SHARDED = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("test_routing", sys.argv[1])
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
for name, (moe, meshes) in module.SPLIT.items():
    for sizes in meshes:
        state, found = module.run(module.replace(module.CFG, moe=moe), 3, sizes=sizes)
        kernel = state.params["layers"]["block_0"]["moe"]["expert_up"]["kernel"]
        print(json.dumps([name, sizes, found, list(kernel.addressable_shards[0].data.shape)]))
"""
CUBE = {"fsdp": 2, "tensor": 2, "expert": 2}
SPLIT: dict[str, tuple[Moe, list[dict[str, int]]]] = {
    "dropless": (ALL, [{"data": 8}, {"data": 2, "expert": 4}, CUBE]),
    "bias": (Moe(8, balance="bias", balance_rate=0.05), [{"data": 2, "expert": 4}]),
    "capacity": (Moe(8, capacity_factor=0.75), [CUBE]),
}


def test_sharded_equals_single() -> None:
    """On 8 simulated devices every mesh gives the single device's losses and loads, with its experts really split."""
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(Path(__file__))],
        capture_output=True,
        text=True,
        env=jobs.simulated(8),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    single = {name: whole(replace(CFG, moe=moe)) for name, (moe, _) in SPLIT.items()}
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[name, sizes] for name, (_, some) in SPLIT.items() for sizes in some]
    for name, sizes, found, shape in lines:
        for one, other in zip(single[name], found, strict=True):
            assert other == pytest.approx(one, rel=5e-4), (name, sizes)
        parts = {axis: sizes.get(axis, 1) for axis in AXES}
        assert shape == [1, 8 // parts["expert"], 16 // parts["fsdp"], 16 // parts["tensor"]]
