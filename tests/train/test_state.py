"""Where the state lies: moments in the host's memory change no number, and are saved and restored there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from lm.common import hardware
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.common.mesh import AXES, make_mesh
from lm.model.config import ModelConfig
from lm.train import unverified
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import TrainState, abstract_state, init_state
from lm.train.step import make_step, place

CFG = ModelConfig(32, 1, 2, 2, 16, 16, 8, 8)
MESH = make_mesh(dict.fromkeys(AXES, 1))
ONES_BT = np.ones((4, 8), np.int32)
BATCH = {
    **dict.fromkeys(("tokens", "targets", "segments"), ONES_BT),
    "positions": np.broadcast_to(np.arange(8, dtype=np.int32), (4, 8)),
    "loss_mask": ONES_BT.astype(np.float32),
    "index": np.arange(4, dtype=np.int32),
}


def make_optimizer(name: str, *, offload: bool) -> Optimizer:
    cfg = pretrain().optimizer
    cfg.update(name=name, peak_lr=1e-2, offload=offload)
    return Optimizer.from_config(cfg, cosine(9, 1, 0.1))


def kinds(tree: Any) -> set[str]:
    return {leaf.sharding.memory_kind for leaf in jax.tree.leaves(tree) if leaf.ndim}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_moments_in_the_hosts_memory_change_no_number(name: str, tmp_path: Path) -> None:
    """Bit for bit, on the way and after a checkpoint, from which either kind of run goes on."""
    ends: dict[bool, TrainState] = {}
    losses: dict[bool, list[float]] = {}
    for offload in (False, True):
        optimizer = make_optimizer(name, offload=offload)
        state, step = init_state(CFG, optimizer, MESH, seed=0), make_step(CFG, optimizer, MESH, seed=0)
        losses[offload] = []
        for number in range(4):
            assert kinds((state.optimizer.mu, state.optimizer.nu)) == {hardware.HOST if offload else "device"}
            assert kinds(state.params) == {"device"}
            if offload and number == 2:
                with Checkpoints(tmp_path) as checkpoints:
                    checkpoints.save(number, state, {}, None)
                    checkpoints.wait()
                    state = checkpoints.restore(abstract_state(CFG, optimizer, MESH)).state
                    plain = checkpoints.restore(abstract_state(CFG, make_optimizer(name, offload=False), MESH)).state
                    assert kinds(plain) == {"device"}
            state, metrics = step(state, place(BATCH, MESH, 4))
            losses[offload].append(float(metrics["train/loss"]))
        ends[offload] = state
    assert losses[True] == losses[False]
    jax.tree.map(np.testing.assert_array_equal, ends[True], ends[False])


def test_an_update_that_is_left_out_leaves_offloaded_moments() -> None:
    optimizer = make_optimizer("adamw", offload=True)
    state = init_state(CFG, optimizer, MESH, seed=0)
    before = jax.tree.map(np.asarray, state)
    broken = {**BATCH, "loss_mask": np.full((4, 8), np.inf, np.float32)}
    after, _ = make_step(CFG, optimizer, MESH, seed=0, skip_nonfinite=True)(state, place(broken, MESH, 4))
    assert kinds((after.optimizer.mu, after.optimizer.nu)) == {hardware.HOST}
    assert int(after.optimizer.steps) == 1
    jax.tree.map(
        np.testing.assert_array_equal,
        (after.params, after.optimizer.mu, after.optimizer.nu),
        (before.params, before.optimizer.mu, before.optimizer.nu),
    )


def test_a_device_that_cannot_reach_its_hosts_memory_is_refused() -> None:
    cfg = pretrain()
    cfg.optimizer.offload = cfg.train.allow_unverified = True
    device: Any = SimpleNamespace(device_kind="X", addressable_memories=lambda: [SimpleNamespace(kind="device")])
    with pytest.raises(UserError, match=r"^optimizer.offload=True: X knows no pinned_host memory"):
        unverified.check(cfg, device)
    unverified.check(cfg, jax.devices()[0])
