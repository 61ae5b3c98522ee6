"""What this hardware cannot do is refused, and by what name; allowed all the same, eight bits train."""

from __future__ import annotations

from dataclasses import replace
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
from lm.train import run, unverified
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import abstract_state, init_state
from lm.train.step import make_step, place

CFG = ModelConfig(96, 1, 4, 2, 32, 64, 8, 16)
CPU: Any = SimpleNamespace(platform="cpu", device_kind="cpu")


def gpu(capability: str) -> Any:
    return SimpleNamespace(platform="gpu", device_kind="NVIDIA X", compute_capability=capability)


def tpu(kind: str) -> Any:
    return SimpleNamespace(platform="tpu", device_kind=kind)


@pytest.mark.parametrize(
    ("kind", "device", "able"),
    [
        ("int8", CPU, False),
        ("fp8", CPU, False),
        ("int8", gpu("7.0"), False),
        ("int8", gpu("8.0"), True),
        ("fp8", gpu("8.0"), False),
        ("fp8", gpu("8.9"), True),
        ("fp8", gpu("10.0"), True),
        ("fp8", gpu("gfx942"), False),
        ("int8", tpu("TPU v4"), False),
        ("int8", tpu("TPU v6 lite"), True),
        ("fp8", tpu("TPU v6 lite"), False),
        ("fp8", tpu("TPU7x"), True),
    ],
)
def test_eight_bits_are_refused_where_they_gain_nothing(kind: str, device: Any, able: bool) -> None:
    assert hardware.multiplies(kind, device) == able
    cfg = pretrain()
    cfg.model.quantize = kind
    if able:
        unverified.check(cfg, device)
        return
    with pytest.raises(UserError, match=rf"^model.quantize={kind}: .* has no units for it; .*allow_unverified=True"):
        unverified.check(cfg, device)
    cfg.train.allow_unverified = True
    unverified.check(cfg, device)


def test_a_run_on_this_machine_is_refused(lm: Any, tmp_path: Path, text_file: Path) -> None:
    config = ("pretrain", "--config=configs/pretrain/tiny.py:smoke", f"--workdir={tmp_path}/run")
    arguments = (*config, f"--config.data.path={text_file}", "--config.dry_run=True", "--config.model.quantize=int8")
    assert "model.quantize=int8: cpu has no units for it" in lm(*arguments, code=2).stderr
    lm(*arguments, "--config.train.allow_unverified=True")


def batch(seed: int) -> dict[str, np.ndarray]:
    """A batch in which every token is the one before it, plus one."""
    starts_B1 = np.random.default_rng(seed).integers(0, 96, (8, 1))
    tokens_BL = ((starts_B1 + np.arange(17)) % 96).astype(np.int32)
    places_BT = np.broadcast_to(np.arange(16, dtype=np.int32), (8, 16))
    ones_BT = np.ones((8, 16), np.int32)
    return {
        "tokens": tokens_BL[:, :-1],
        "targets": tokens_BL[:, 1:],
        "segments": ones_BT,
        "positions": places_BT,
        "loss_mask": ones_BT.astype(np.float32),
        "index": np.arange(8, dtype=np.int32),
    }


def make_optimizer() -> Optimizer:
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-2
    return Optimizer.from_config(cfg, cosine(40, 1, 0.1))


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_eight_bits_learn_what_float32_learns_and_leave_its_checkpoint(kind: str, tmp_path: Path) -> None:
    """Losses fall together, and what is saved is restored where nothing is rounded, and goes on from there."""
    optimizer, mesh = make_optimizer(), make_mesh(dict.fromkeys(AXES, 1))
    losses: dict[str, list[float]] = {}
    for name in ("none", kind):
        model = replace(CFG, quantize=name)
        state, step = init_state(model, optimizer, mesh, seed=0), make_step(model, optimizer, mesh, seed=0)
        losses[name] = []
        for number in range(30):
            state, metrics = step(state, place(batch(number), mesh, 8))
            losses[name].append(float(metrics["train/loss"]))
    assert 0 < abs(losses[kind][0] - losses["none"][0]) < 0.02
    assert losses[kind][-1] < 0.6 * losses[kind][0]
    assert losses[kind][-1] == pytest.approx(losses["none"][-1], rel=0.15)

    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(30, state, {}, None)
        checkpoints.wait()
        back = checkpoints.restore(abstract_state(CFG, optimizer, mesh)).state
    jax.tree.map(np.testing.assert_array_equal, back, state)
    _, metrics = make_step(CFG, optimizer, mesh, seed=0)(back, place(batch(30), mesh, 8))
    assert float(metrics["train/loss"]) < 0.6 * losses[kind][0]


def test_what_is_trained_in_eight_bits_is_used_without() -> None:
    section = pretrain().model
    section.update(dict.fromkeys(("n_layers", "n_heads", "n_kv_heads"), 2) | {"d_model": 16, "d_ff": 16})
    section.update(head_width=8, vocab_size=32, dtype="bfloat16", quantize="fp8")
    assert ModelConfig.from_dict(section).quantize == "fp8"
    assert run.model_of({"model": section}) == replace(ModelConfig.from_dict(section), quantize="none")
