"""The programs that are compiled ahead of time: a training step, and a step of decoding, as they are run.

Dims: B batch, T time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from lm.common import mesh as meshes
from lm.model import cache as caches
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.model.roles import path_names
from lm.train.optimizer import Optimizer
from lm.train.parametrization import width_ratio
from lm.train.schedule import make_schedule
from lm.train.state import TrainState, abstract_state, init_state
from lm.train.step import StepFunction, make_step

TIMED_STEPS = 3


def train(config: Any, model: ModelConfig, mesh: Mesh) -> jax.stages.Lowered:
    """Lowers the training step of a resolved config."""
    step, state = _step(config, model, mesh)
    return step.lower(state, batch(config.train.batch_size, model.max_seq_len, mesh))  # type: ignore[attr-defined]


def _step(config: Any, model: ModelConfig, mesh: Mesh) -> tuple[StepFunction, TrainState]:
    optimizer = _optimizer(config)
    section = config.train
    step = make_step(
        model,
        optimizer,
        mesh,
        seed=section.seed,
        microbatches=section.microbatches,
        loss_chunk=section.loss_chunk,
        z_loss=section.z_loss,
        ahead_weight=section.ahead_weight or 0.0,
        clip_norm=section.clip_norm,
        gradient_dtype=section.gradient_dtype,
        skip_nonfinite=section.guard.action == "skip",
    )
    return step, abstract_state(model, optimizer, mesh)


def _optimizer(config: Any) -> Optimizer:
    schedule = make_schedule(config.schedule, config.train.steps)
    return Optimizer.from_config(config.optimizer, schedule, width_ratio(config.model))


def batch(rows: int, seq_len: int, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch and where they lie."""

    def placed(shape: tuple[int, ...], dtype: str = "int32") -> jax.ShapeDtypeStruct:
        where = NamedSharding(mesh, meshes.spec(("batch", "time")[: len(shape)]))
        return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=where)

    places = dict.fromkeys(("tokens", "targets", "segments", "positions"), placed((rows, seq_len)))
    return {**places, "loss_mask": placed((rows, seq_len), "float32"), "index": placed((rows,))}


def time_train(config: Any, model: ModelConfig, mesh: Mesh) -> float:
    """Runs a few training steps on devices that are here; returns the seconds of the fastest."""
    step, _ = _step(config, model, mesh)
    state = init_state(model, _optimizer(config), mesh, config.train.seed)
    shapes = batch(config.train.batch_size, model.max_seq_len, mesh)
    best = float("inf")
    with jax.set_mesh(mesh):
        made = {name: jax.device_put(jnp.ones(s.shape, s.dtype), s.sharding) for name, s in shapes.items()}
        for _ in range(1 + TIMED_STEPS):  # the first one compiles
            before = time.perf_counter()
            state, metrics = step(state, made)
            jax.block_until_ready((state, metrics))
            best = min(best, time.perf_counter() - before)
    return best


def decode(config: Any, model: ModelConfig, mesh: Mesh) -> jax.stages.Lowered:
    """Lowers a step of decoding: one token a device that a batch is split over, and a cache of a full context."""
    rows = meshes.batch_parts(mesh)
    params = abstract_state(model, _optimizer(config), mesh).params
    cache = jax.eval_shape(lambda: caches.empty(model, rows, model.max_seq_len))
    cache = jax.tree_util.tree_map_with_path(partial(_cached, mesh), cache)
    where = NamedSharding(mesh, meshes.spec(("batch", None)))
    token = jax.ShapeDtypeStruct((rows, 1), jnp.int32, sharding=where)

    def step(params: Any, token_B1: jax.Array, position_B1: jax.Array, cache: caches.Cache) -> Any:
        decoder, ones = Decoder(model), jnp.ones_like(token_B1)
        hidden = decoder.apply({"params": params}, token_B1, ones, position_B1, cache=cache, method=Decoder.hidden)
        return decoder.apply({"params": params}, hidden.h_BTD, method=Decoder.unembed)[:, -1], hidden.cache

    return jax.jit(step, donate_argnums=3).lower(params, token, token, cache)


def _cached(mesh: Mesh, path: tuple[Any, ...], leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns a part of the cache where it lies: split by rows, and keys and values by heads."""
    axes: tuple[str | None, ...] = ("batch", None)[: len(leaf.shape)]
    if jax.tree_util.keystr(path).startswith(".layers"):
        by_head = path_names(path)[-1] in ("k", "v") and len(leaf.shape) == 5
        axes = (None, "batch", None, "kv_heads", None) if by_head else (None, "batch", *(None,) * (len(leaf.shape) - 2))
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, meshes.spec(axes)))
