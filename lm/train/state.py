"""The train state: everything a step changes, and where it lives on the mesh."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lm.common import hardware
from lm.common import mesh as meshes
from lm.model import decoder
from lm.model.config import ModelConfig
from lm.model.roles import logical_axes
from lm.train import scale
from lm.train.optimizer import Optimizer, OptimizerState
from lm.train.scale import LossScale


class TrainState(NamedTuple):
    """Float32 parameters; the optimizer's state, which counts the steps taken; the loss's scale in float16."""

    params: Any
    optimizer: OptimizerState
    scale: LossScale | None = None


def abstract_state(model: ModelConfig, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """Returns shapes, dtypes and shardings of the state without allocating any of it."""
    shapes = jax.eval_shape(partial(_build, model, optimizer), jax.random.key(0))
    params = meshes.shardings(mesh, shapes.params, logical_axes(shapes.params))
    replicated = NamedSharding(mesh, PartitionSpec())
    moments = jax.tree.map(lambda where: where.with_memory_kind(hardware.HOST), params) if optimizer.offload else params
    nu = jax.tree.map(lambda leaf, where: where if leaf.ndim else replicated, shapes.optimizer.nu, moments)
    of_scale = jax.tree.map(lambda _: replicated, shapes.scale)
    placed: Any = TrainState(params, OptimizerState(replicated, moments, nu), of_scale)  # type: ignore[arg-type]
    return jax.tree.map(lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where), shapes, placed)


def init_state(model: ModelConfig, optimizer: Optimizer, mesh: Mesh, seed: int) -> TrainState:
    """Draws the state on the mesh; the values depend on the seed alone, not on the mesh."""
    where = jax.tree.map(lambda s: s.sharding, abstract_state(model, optimizer, mesh))
    with jax.set_mesh(mesh):
        return jax.jit(partial(_build, model, optimizer), out_shardings=where)(jax.random.key(seed))


def _build(model: ModelConfig, optimizer: Optimizer, key: jax.Array) -> TrainState:
    params = decoder.init(model, key)
    return TrainState(params, optimizer.init(params), scale.init() if model.dtype == "float16" else None)
