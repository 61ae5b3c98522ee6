"""The step: golden first losses, micro-batches, and sharded equals single."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jobs
from lm.common.mesh import AXES, make_mesh
from lm.model.config import ModelConfig
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.scale import GROW_AFTER, LossScale, adjust
from lm.train.schedule import cosine
from lm.train.state import init_state
from lm.train.step import loss_sums, make_step, place

CFG = ModelConfig(96, 2, 4, 2, 32, 64, 8, 16)
DROPOUT = 0.1


MEANT = (
    "the first steps came out otherwise. Update the golden values only for a change that is meant to alter the "
    "initialisation, the forward pass or the optimizer, and say so in CHANGELOG.md: print run({}) and copy. "
    "A refactor leaves them alone."
)


def batch(rows: int = 8, masked: bool = True) -> dict[str, np.ndarray]:
    """A batch whose counted targets are spread unevenly over its rows."""
    rng = np.random.default_rng(0)
    tokens_BL = rng.integers(0, CFG.vocab_size, (rows, CFG.max_seq_len + 1)).astype(np.int32)
    keep_BT = rng.random((rows, CFG.max_seq_len)) < np.linspace(0.1, 1.0, rows)[:, None] if masked else 1.0
    return {
        "tokens": tokens_BL[:, :-1],
        "targets": tokens_BL[:, 1:],
        "segments": np.ones((rows, CFG.max_seq_len), np.int32),
        "positions": np.broadcast_to(np.arange(CFG.max_seq_len, dtype=np.int32), (rows, CFG.max_seq_len)),
        "loss_mask": np.float32(1) * keep_BT * np.ones((rows, CFG.max_seq_len), np.float32),
        "index": np.arange(rows, dtype=np.int32),
    }


def run(
    mesh_sizes: dict[str, int], steps: int = 4, changes: dict[str, Any] | None = None, **options: Any
) -> tuple[list[float], list[float], dict]:
    """Losses and gradient norms of some steps, and where the state's arrays ended up."""
    backend = "ring" if mesh_sizes.get("context", 1) > 1 else "xla"
    model = replace(CFG, attention_backend=backend, **(changes or {}))
    cfg = pretrain().optimizer
    cfg.name, cfg.peak_lr = "muon", 3e-3
    optimizer = Optimizer.from_config(cfg, cosine(30, 1, 0.1))
    mesh = make_mesh({axis: mesh_sizes.get(axis, 1) for axis in AXES})
    state = init_state(model, optimizer, mesh, seed=0)
    step = make_step(model, optimizer, mesh, seed=0, **options)
    losses, norms = [], []
    with jax.set_mesh(mesh):
        for _ in range(steps):
            state, metrics = step(state, place(batch(), mesh, 8))
            losses.append(float(metrics["train/loss"]))
            norms.append(float(metrics["train/grad_norm"]))
    shards = jax.tree.map(lambda a: list(a.addressable_shards[0].data.shape), state.params)
    return losses, norms, shards


def test_first_step_golden() -> None:
    """The first losses and gradient norms of a fixed model on a fixed batch."""
    losses, norms, _ = run({})
    np.testing.assert_allclose(losses, [4.5587, 4.43049, 4.33902, 4.25979], rtol=1e-4, err_msg=MEANT)
    np.testing.assert_allclose(norms, [1.91337, 1.66431, 1.34111, 1.31234], rtol=1e-3, err_msg=MEANT)


def test_first_loss_is_near_log_v() -> None:
    """An untrained model is close to uniform, whose loss is ln V."""
    assert abs(run({}, steps=1)[0][0] - math.log(CFG.vocab_size)) < 0.05


@pytest.mark.parametrize(("microbatches", "dropout"), [(2, 0.0), (4, 0.0), (4, DROPOUT)])
def test_micro_batches_change_nothing(microbatches: int, dropout: float) -> None:
    """Gradients are weighted by targets, not by micro-batch, however unevenly the mask falls; rows drop the same."""
    changes = {"dropout": dropout}
    whole, parts = run({}, changes=changes), run({}, changes=changes, microbatches=microbatches)
    np.testing.assert_allclose(whole[0], parts[0], rtol=1e-5)
    np.testing.assert_allclose(whole[1], parts[1], rtol=1e-4)


def test_gradients_in_bfloat16_are_those_in_float32_to_its_digits() -> None:
    """Of matrices, over micro-batches too; the first loss is that of weights rounded to it."""
    whole = run({}, steps=2)
    for microbatches in (1, 4):
        losses, norms, _ = run({}, steps=2, gradient_dtype="bfloat16", microbatches=microbatches)
        assert losses != whole[0]
        np.testing.assert_allclose(losses, whole[0], rtol=2e-3)
        np.testing.assert_allclose(norms, whole[1], rtol=2e-2)


def test_float16_is_float32_to_its_digits_and_takes_no_overflow() -> None:
    """Small gradients are not lost; a scale that is too much is halved, and its update left out."""
    whole, half = run({}), run({}, changes={"dtype": "float16"})
    np.testing.assert_allclose(half[0], whole[0], rtol=2e-3)
    np.testing.assert_allclose(half[1], whole[1], rtol=2e-2)
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-3
    model, mesh = replace(CFG, dtype="float16"), make_mesh(dict.fromkeys(AXES, 1))
    optimizer = Optimizer.from_config(cfg, cosine(3, 1, 0.1))
    state = init_state(model, optimizer, mesh, seed=0)
    too_much = state._replace(scale=LossScale(jnp.float32(2.0**40), jnp.int32(7)))
    before = jax.tree.map(np.asarray, state.params)
    after, metrics = make_step(model, optimizer, mesh, seed=0)(too_much, place(batch(), mesh, 8))
    assert not np.isfinite(metrics["train/grad_norm"])
    assert np.isfinite(metrics["train/loss"])
    jax.tree.map(np.testing.assert_array_equal, after.params, before)
    assert (float(after.scale.value), int(after.scale.steps), int(after.optimizer.steps)) == (2.0**39, 0, 1)


def test_a_scale_that_was_good_for_long_grows() -> None:
    scale = LossScale(jnp.float32(8.0), jnp.int32(GROW_AFTER - 2))
    once = adjust(scale, jnp.asarray(True))
    twice = adjust(once, jnp.asarray(True))
    assert [(float(s.value), int(s.steps)) for s in (once, twice)] == [(8.0, GROW_AFTER - 1), (16.0, 0)]
    assert float(adjust(LossScale(jnp.float32(1.0), jnp.int32(0)), jnp.asarray(False)).value) == 1.0


def test_what_is_dropped_follows_from_key_row_and_layer() -> None:
    """And from nothing else: not from a row's place in the batch, nor from how the layers are compiled."""
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-3
    state = init_state(CFG, Optimizer.from_config(cfg, cosine(3, 1, 0.1)), make_mesh(dict.fromkeys(AXES, 1)), seed=0)
    model, key = replace(CFG, dropout=DROPOUT), jax.random.key(1)

    def nats(rows: dict[str, np.ndarray], key: jax.Array = key, model: ModelConfig = model) -> float:
        return float(loss_sums(model, state.params, rows, key).nats)

    rows = batch()
    same = pytest.approx(nats(rows), rel=1e-6)
    shuffled = {name: array[::-1] for name, array in rows.items()}
    assert nats(shuffled) == same
    assert nats(rows, model=replace(model, scan_layers=not model.scan_layers)) == same
    assert nats(rows, key=jax.random.key(2)) != same
    assert nats({**rows, "index": rows["index"] + 8}) != same
    assert nats(rows, model=CFG) != same


def test_every_step_drops_anew() -> None:
    """The same batch at a learning rate of nothing: what changes between two steps is what they drop."""
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-30
    optimizer, mesh = Optimizer.from_config(cfg, cosine(3, 1, 0.1)), make_mesh(dict.fromkeys(AXES, 1))

    def losses(dropout: float, seed: int) -> list[float]:
        model = replace(CFG, dropout=dropout)
        state, step = init_state(model, optimizer, mesh, seed=0), make_step(model, optimizer, mesh, seed=seed)
        found = []
        for _ in range(2):
            state, metrics = step(state, place(batch(), mesh, 8))
            found.append(float(metrics["train/loss"]))
        return found

    whole, dropped, other_seed = losses(0.0, 0), losses(DROPOUT, 0), losses(DROPOUT, 1)
    assert whole[0] == whole[1]
    assert len({*whole, *dropped, *other_seed}) == 5


def test_a_batch_with_nothing_to_predict_is_no_division_by_zero() -> None:
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-3
    optimizer, mesh = Optimizer.from_config(cfg, cosine(3, 1, 0.1)), make_mesh(dict.fromkeys(AXES, 1))
    state = init_state(CFG, optimizer, mesh, seed=0)
    empty = {**batch(), "loss_mask": np.zeros((8, CFG.max_seq_len), np.float32)}
    _, metrics = make_step(CFG, optimizer, mesh, seed=0)(state, place(empty, mesh, 8))
    assert all(jnp.isfinite(value) for value in metrics.values())
    assert metrics["train/loss"] == 0


SHARDED = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("test_step", sys.argv[1])
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
print(json.dumps([module.run(sizes, changes=changes) for sizes, changes in json.loads(sys.argv[2])]))
"""
CUBE = {"data": 2, "fsdp": 2, "tensor": 2}
DROPPED = {"dropout": DROPOUT}
ROUNDED = {"quantize": "int8"}
STREAMS = {"hyper_streams": 3, "hyper_dynamic": True}
MESHES: list[tuple[dict[str, int], dict[str, Any]]] = [
    ({"data": 8}, {}),
    ({"data": 4, "fsdp": 2}, DROPPED),
    ({"fsdp": 4, "tensor": 2}, {}),
    (CUBE, DROPPED),
    ({"context": 4, "data": 2}, {}),
    ({"context": 2, "fsdp": 2, "tensor": 2}, STREAMS),
    ({"pipeline": 2, "fsdp": 2, "tensor": 2}, DROPPED),
    ({"pipeline": 2, "fsdp": 2, "tensor": 2}, ROUNDED),
]


def test_sharded_equals_single() -> None:
    """On 8 simulated devices every mesh gives the single device's losses, with its parameters really split.

    With dropout too: a row drops the same entries on whatever device it is. And with several residual streams, and in
    eight bits, whose scales are of whole rows and columns wherever their parts lie.
    """
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(Path(__file__)), json.dumps(MESHES)],
        capture_output=True,
        text=True,
        env=jobs.simulated(8),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    single = {str(changes): run({}, changes=changes) for changes in ({}, DROPPED, STREAMS, ROUNDED)}
    for (sizes, changes), (sharded_losses, sharded_norms, shards) in zip(MESHES, json.loads(done.stdout), strict=True):
        losses, norms, _ = single[str(changes)]
        digits = 100 if changes == ROUNDED else 1  # a last digit may round to another of 256 numbers
        np.testing.assert_allclose(sharded_norms[0], norms[0], rtol=1e-5 * digits, err_msg=str(sizes))
        np.testing.assert_allclose(sharded_losses, losses, rtol=1e-4 * digits, err_msg=str(sizes))
        fsdp, tensor = sizes.get("fsdp", 1), sizes.get("tensor", 1)
        block = shards["layers"]["block_0"]
        layers = 2 // sizes.get("pipeline", 1)
        assert block["mixer"]["q"]["kernel"] == [layers, 32 // fsdp, 4 // tensor, 8]
        assert block["mixer"]["o"]["kernel"] == [layers, 4 // tensor, 8, 32 // fsdp]
        assert block["mlp"]["gate"]["kernel"] == [layers, 32 // fsdp, 64 // tensor]
        assert shards["embed"]["table"] == [96 // tensor, 32 // fsdp]
