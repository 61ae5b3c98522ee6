"""Memory: what is kept between steps by hand, what a step needs against what the compiler allots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lm.common import mesh as meshes
from lm.model import cost, presets
from lm.model.config import ModelConfig
from lm.study import footprint, subject
from lm.train import defaults
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import abstract_state
from lm.train.step import make_step


def test_adamw_keeps_four_numbers_a_parameter_in_float32() -> None:
    found = footprint.footprint(subject.find("gpt2-124m"))
    n = cost.n_params(presets.get("gpt2-124m"))
    assert (found.parameters, found.gradients, found.optimizer) == (4 * n, 4 * n, 8 * n + 4)  # and counts its steps
    assert found.activations is not None
    assert found.total == 16 * n + 4 + found.activations


def test_fully_sharded_each_device_has_its_share_but_of_biases() -> None:
    changes = {"mesh.fsdp": 4}
    one, four = (
        footprint.footprint(subject.find("gpt2-124m", changes=c, devices=d)) for c, d in (({}, 1), (changes, 4))
    )
    assert four.parameters == pytest.approx(one.parameters / 4, rel=1e-2)


def test_what_a_backend_keeps_is_not_guessed() -> None:
    found = footprint.footprint(subject.find("gpt2-124m", changes={"model.attention_backend": "cudnn"}))
    assert found.activations is None
    assert found.total == found.parameters + found.gradients + found.optimizer


@pytest.mark.parametrize("remat", ["none", "dots", "block"])
def test_the_estimate_is_near_what_the_compiler_allots(remat: Any) -> None:
    rows, seq_len = 4, 64
    model = ModelConfig(
        vocab_size=64, n_layers=8, n_heads=4, n_kv_heads=4, d_model=64, d_ff=192, head_width=16, max_seq_len=seq_len
    )
    model = replace(model, remat=remat)
    cfg = defaults.pretrain()
    cfg.optimizer.peak_lr = 1e-3
    optimizer, mesh = Optimizer.from_config(cfg.optimizer, cosine(10, 1, 0.1)), meshes.make_mesh(cfg.mesh)
    state = abstract_state(model, optimizer, mesh)
    places, flags = jax.ShapeDtypeStruct((rows, seq_len), jnp.int32), jax.ShapeDtypeStruct((rows, seq_len), jnp.float32)
    batch: dict[str, Any] = {**dict.fromkeys(("tokens", "targets", "segments", "positions"), places)}
    batch |= {"loss_mask": flags, "index": jax.ShapeDtypeStruct((rows,), jnp.int32)}
    with jax.set_mesh(mesh):
        compiled = make_step(model, optimizer, mesh, seed=0).lower(state, batch).compile()
    allotted = compiled.memory_analysis().temp_size_in_bytes
    estimate = rows * footprint.activations(model, seq_len) + 4 * cost.n_params(model)  # activations and gradients
    assert estimate == pytest.approx(allotted, rel=0.35)
