"""Memory on paper: exact where it can be, and near what XLA allots for a small model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lm.common import mesh as meshes
from lm.model import cost, presets
from lm.model.config import ModelConfig
from lm.study.plan import compile as compiler
from lm.study.plan import paper, programs
from lm.study.plan.layout import Job, Layout, misfit, of_config, parameters
from lm.study.plan.work import work
from lm.train import defaults

LLAMA = replace(presets.get("llama3-8b"), dtype="bfloat16", attention_backend="splash")
SMALL = ModelConfig(
    vocab_size=512, n_layers=4, n_heads=4, n_kv_heads=2, d_model=128, d_ff=384, head_width=32, max_seq_len=128
)


def test_what_is_kept_between_steps_is_twelve_bytes_a_parameter() -> None:
    kinds = paper.memory(Job(LLAMA, 64), Layout(fsdp=64, remat="block")).kinds
    n = cost.n_params(LLAMA)
    assert kinds["parameters"] == pytest.approx(4 * n / 64)
    assert kinds["optimizer"] == pytest.approx(8 * n / 64)


def test_muon_keeps_one_moment_of_hidden_matrices_and_moments_may_be_shorter() -> None:
    adamw, muon, short = (
        paper.state(Job(LLAMA, 8, **kind), Layout(fsdp=8))["optimizer"]
        for kind in ({}, {"optimizer": "muon"}, {"moment": 2})  # type: ignore[arg-type]
    )
    hidden = sum(p.count for p in parameters(LLAMA) if p.is_matrix and p.in_layers)
    assert adamw - muon == 4 * hidden / 8
    assert short == adamw * 3 / 4


def test_under_block_each_layer_keeps_what_enters_it() -> None:
    job, layout = Job(LLAMA, 128), Layout(fsdp=64, remat="block")
    assert paper.saved(job, layout) == 32 * 2 * 8192 * 4096 * 2
    assert paper.saved(job, replace(layout, microbatches=2)) == 32 * 8192 * 4096 * 2


def test_under_dots_each_layer_keeps_its_products_too() -> None:
    kept = paper.saved(Job(LLAMA, 64), Layout(fsdp=64, remat="dots"))
    widths = 4096 + 2 * 4096 + 2 * 1024 + 2 * 14_336  # the stream, q and what o makes, k and v, gate and up
    assert kept == pytest.approx(32 * 8192 * widths * 2, rel=0.02)


def test_tensor_splits_units_and_heads_and_not_the_stream() -> None:
    job = Job(LLAMA, 64)
    whole, half = (paper.saved(job, Layout(fsdp=64 // t, tensor=t, remat="dots")) for t in (1, 2))
    streams = 32 * 8192 * 2 * 4096 * 2  # what enters a layer, and what o makes
    assert half - 2 * streams == pytest.approx((2 * whole - 2 * streams) / 2, rel=0.02)


def test_a_batch_that_parts_do_not_divide_is_named() -> None:
    assert "96 rows are not a multiple of 1 micro-batches × 64 parts" in misfit(Job(LLAMA, 96), Layout(fsdp=64))
    assert "mesh.tensor=16 does not divide the kv_heads dimension 8" in misfit(Job(LLAMA, 64), Layout(tensor=16))
    assert "attention_backend=ring" in misfit(Job(LLAMA, 64), Layout(context=4))
    assert misfit(Job(LLAMA, 64), Layout(fsdp=32, tensor=2)) == ""


def compiled_here(model: ModelConfig, rows: int, **train: Any) -> tuple[compiler.Compiled, Job, Layout]:
    """Compiles a training step for the first device here."""
    config = defaults.pretrain()
    config.model.update(**{key: getattr(model, key) for key in ("n_layers", "d_model", "remat")})
    config.optimizer.peak_lr = 1e-3
    config.train.update(batch_size=rows, steps=10, **train)
    mesh = meshes.make_mesh(Layout().mesh, jax.devices()[:1])
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        program = programs.train(config, model, mesh).compile()
    job, layout = of_config(config, model, dict(mesh.shape))
    return compiler.describe(program, layout.mesh, 0.0), job, layout


@pytest.mark.parametrize(("remat", "loss_chunk"), [("none", 0), ("dots", 32), ("block", 32)])
def test_operations_are_those_that_the_compiler_is_left_with(remat: Any, loss_chunk: int) -> None:
    found, job, layout = compiled_here(replace(SMALL, remat=remat), 4, loss_chunk=loss_chunk)
    assert found.flops == work(job, layout).flops
    assert found.kernels == {}


@pytest.mark.parametrize("remat", ["dots", "block"])
def test_memory_is_near_what_the_compiler_allots(remat: Any) -> None:
    found, job, layout = compiled_here(replace(SMALL, remat=remat), 16, loss_chunk=32)
    memory = paper.memory(job, layout)
    state = memory.kinds["parameters"] + memory.kinds["optimizer"]
    assert found.memory["arguments"] == pytest.approx(state + memory.kinds["batch"], rel=0.02)
    assert memory.total == pytest.approx(found.peak, rel=0.25)  # a CPU's compiler shares less than a TPU's


def test_micro_batches_save_activations_and_cost_a_sum() -> None:
    one, four = (paper.memory(Job(LLAMA, 256), Layout(fsdp=64, remat="block", microbatches=m)) for m in (1, 4))
    assert four.total < one.total
    assert four.kinds["gradients"] > one.kinds["gradients"]


def test_batch_shapes_are_those_of_a_step() -> None:
    mesh = meshes.make_mesh(Layout().mesh, jax.devices()[:1])
    shapes = programs.batch(4, 16, mesh)
    assert shapes["tokens"].shape == (4, 16)
    assert shapes["index"].shape == (4,)
    assert shapes["loss_mask"].dtype == jnp.float32


@pytest.mark.parametrize(("repeats", "ticks"), [(1, 7), (2, 11)])
def test_a_stage_of_a_pipeline_computes_and_passes_on_in_the_bubble_too(repeats: int, ticks: int) -> None:
    """Four micro-batches over four stages; the bytes were read off what the compiler makes of this model."""
    model = replace(SMALL, n_layers=8, n_kv_heads=4, d_model=64, d_ff=128, head_width=16, max_seq_len=4)
    job = Job(replace(model, pipeline_repeats=repeats), 4)
    alone, staged = work(job, Layout()), work(job, Layout(pipeline=4))
    assert staged.attention_flops == pytest.approx(alone.attention_flops / 4 * ticks / (4 * repeats))
    assert staged.flops < alone.flops
    moved = {each.kind: each.bytes for each in staged.traffic}
    assert moved == {"collective-permute": {1: 14_336, 2: 679_936}[repeats], "all-reduce": 18_432}
    assert "pipeline_repeats=3 groups: 8 layers" in misfit(
        Job(replace(model, pipeline_repeats=3), 4), Layout(pipeline=4)
    )
