"""The train state: everything a step changes, and where it lives on the mesh."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lm.common import mesh as meshes
from lm.model import decoder
from lm.model.config import ModelConfig
from lm.model.roles import logical_axes
from lm.train.optimizer import Optimizer, OptimizerState


class TrainState(NamedTuple):
    """Float32 parameters and the optimizer's state, which counts the steps taken."""

    params: Any
    optimizer: OptimizerState


def abstract_state(model: ModelConfig, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """Returns shapes, dtypes and shardings of the state without allocating any of it."""

    def build(key: jax.Array) -> TrainState:
        params = decoder.init(model, key)
        return TrainState(params, optimizer.init(params))

    shapes = jax.eval_shape(build, jax.random.key(0))
    params = meshes.shardings(mesh, shapes.params, logical_axes(shapes.params))
    replicated = NamedSharding(mesh, PartitionSpec())
    nu = jax.tree.map(lambda leaf, sharding: sharding if leaf.ndim else replicated, shapes.optimizer.nu, params)
    placed: Any = TrainState(params, OptimizerState(replicated, params, nu))  # type: ignore[arg-type]
    return jax.tree.map(lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where), shapes, placed)


def init_state(model: ModelConfig, optimizer: Optimizer, mesh: Mesh, seed: int) -> TrainState:
    """Draws the state on the mesh; the values depend on the seed alone, not on the mesh."""
    where = jax.tree.map(lambda s: s.sharding, abstract_state(model, optimizer, mesh))

    def build(key: jax.Array) -> TrainState:
        params = decoder.init(model, key)
        return TrainState(params, optimizer.init(params))

    with jax.set_mesh(mesh):
        return jax.jit(build, out_shardings=where)(jax.random.key(seed))
