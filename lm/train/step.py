"""One training step: a pure function of (state, batch).

Dims: B batch, T time, M micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from lm.common import mesh as meshes
from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.model.roles import path_names, role_of
from lm.train import routing, scale
from lm.train.loss import Loss, ahead_nats, hidden_nats, masked_loss
from lm.train.optimizer import Optimizer, clip, global_norm
from lm.train.state import TrainState, abstract_state

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
BATCH_KEYS = ("tokens", "targets", "segments", "positions", "loss_mask", "index")


def loss_sums(
    model: ModelConfig, params: Any, batch: Batch, dropout_key: jax.Array | None, loss_chunk: int = 0
) -> Loss:
    """Runs the model on a batch and sums the loss over its counted targets; see `hidden_nats` for `loss_chunk`."""
    keys_B = None
    if dropout_key is not None and model.dropout > 0.0:
        # By row number, not by place in the batch: the same whatever the micro-batches or the mesh.
        keys_B = jax.vmap(lambda row: jax.random.fold_in(dropout_key, row))(batch["index"])
    decoder = partial(Decoder(model).apply, {"params": params})
    hidden = decoder(batch["tokens"], batch["segments"], batch["positions"], dropout_keys_B=keys_B, method="hidden")
    unembed = partial(decoder, method="unembed")
    nats_BT, log_z_BT = hidden_nats(unembed, hidden.h_BTD, batch["targets"], loss_chunk)
    places = Places(batch["segments"], batch["positions"])
    depths = decoder(hidden.h_BTD, batch["tokens"], places, keys_B, method="foretell")
    ahead = ahead_nats(unembed, depths, batch, loss_chunk)
    return masked_loss(nats_BT, log_z_BT, batch["loss_mask"], hidden.aux, ahead)


def make_step(
    model: ModelConfig,
    optimizer: Optimizer,
    mesh: Mesh,
    *,
    seed: int,
    microbatches: int = 1,
    loss_chunk: int = 0,
    z_loss: float = 0.0,
    ahead_weight: float = 0.0,
    clip_norm: float = 1.0,
    gradient_dtype: str = "float32",
    skip_nonfinite: bool = False,
) -> StepFunction:
    """Compiles the step for a mesh; the state's buffers are donated.

    Gradients are summed over micro-batches and divided once, by the number of counted targets in the whole
    batch, so the result does not depend on how targets fall into micro-batches. What routers add is a sum over all
    tokens but padding, and is weighted by how many targets the batch has for each of those. With `skip_nonfinite` a
    step whose gradient is not finite counts as taken and changes nothing else. With a `gradient_dtype` of bfloat16 the
    gradients of matrices are computed and summed over devices in it, over micro-batches still in float32. In float16
    the loss is scaled, and an update whose gradient overflows is left out, as is usual now and then.
    """

    def objective(
        params: Any, batch: Batch, key: jax.Array, targets_a_token: jax.Array, factor: jax.Array
    ) -> tuple[jax.Array, Loss]:
        sums = loss_sums(model, params, batch, key, loss_chunk)
        routed = targets_a_token * routing.penalty(model.moe, sums.reports)
        return factor * (sums.nats + z_loss * sums.z + ahead_weight * sums.ahead + routed), sums

    def grad(params: Any, *rest: Any) -> tuple[Any, Loss]:
        grads, sums = jax.grad(objective, has_aux=True)(_lowered(params, gradient_dtype), *rest)
        return jax.tree.map(lambda g: g.astype(jnp.float32), grads), sums

    def gradients(params: Any, batch: Batch, *rest: jax.Array) -> tuple[Any, Loss]:
        if microbatches == 1:
            return grad(params, batch, *rest)

        def add(total: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, grad(params, part, *rest)), None

        parts = {name: meshes.split_rows(array, microbatches) for name, array in batch.items()}
        shapes = jax.eval_shape(grad, params, jax.tree.map(lambda a: a[0], parts), *rest)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.scan(add, zeros, parts)[0]

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        taken = state.optimizer.steps
        targets = jnp.maximum(jnp.sum(batch["loss_mask"]), 1.0)  # a batch may hold nothing to predict
        tokens = jnp.maximum(jnp.sum(batch["segments"] != 0), 1)
        key = jax.random.fold_in(jax.random.key(seed), taken)
        factor = jnp.float32(1.0) if state.scale is None else state.scale.value / targets
        grads, sums = gradients(state.params, batch, key, targets / tokens, factor)
        grads = jax.tree.map(lambda g: g / (factor * targets), grads)
        norm = global_norm(grads)
        finite = jnp.isfinite(norm)
        bad = ~finite if skip_nonfinite or state.scale is not None else None
        grads = clip(grads, norm, clip_norm)
        params, optimizer_state = optimizer.update(grads, state.optimizer, state.params, unless=bad)
        if model.moe.balance == "bias":
            moved = routing.rebalance(params, sums.reports, model.moe.balance_rate)
            params = moved if bad is None else jax.tree.map(lambda a, b: jnp.where(bad, a, b), params, moved)
        metrics = {
            "train/loss": sums.nats / targets,
            "train/z": sums.z / targets,
            "train/grad_norm": norm,
            "train/learning_rate": optimizer.learning_rate(taken),
            "train/batch_hash": batch_hash(batch),
            **routing.metrics(sums.reports, tokens),
            **({"train/ahead": sums.ahead / targets} if model.predict_ahead else {}),
            **({"train/loss_scale": state.scale.value} if state.scale else {}),
        }
        next_scale = None if state.scale is None else scale.adjust(state.scale, finite)
        return TrainState(params, optimizer_state, next_scale), metrics

    state_where = jax.tree.map(lambda s: s.sharding, abstract_state(model, optimizer, mesh))
    return jax.jit(step, donate_argnums=0, out_shardings=(state_where, None))


def _lowered(params: Any, dtype: str) -> Any:
    """Casts what is multiplied by: its gradient, and what FSDP gathers of it, is then of that dtype."""

    def leaf(path: tuple[Any, ...], array: jax.Array) -> jax.Array:
        return array.astype(dtype) if role_of(path_names(path)).group in ("matrix", "embedding") else array

    return params if dtype == "float32" else jax.tree_util.tree_map_with_path(leaf, params)


def place(batch: Mapping[str, np.ndarray], mesh: Mesh, size: int) -> Batch:
    """Puts a batch of `size` rows onto the mesh, split over its axes, from those rows that belong to this process."""
    rows_R = meshes.local_rows(mesh, size)

    def placed(array: np.ndarray) -> jax.Array:
        assert len(array) == len(rows_R), "the rows of this process, and no others"
        where = NamedSharding(mesh, meshes.spec(("batch", "time")[: array.ndim]))

        def part(index: Any) -> np.ndarray:
            first, stop, _ = index[0].indices(size)
            start = int(np.searchsorted(rows_R, first))
            return array[(slice(start, start + stop - first), *index[1:])]

        return jax.make_array_from_callback((size, *array.shape[1:]), where, part)

    return {name: placed(batch[name]) for name in BATCH_KEYS if name in batch}


def batch_hash(batch: Batch) -> jax.Array:
    """Returns 32 bits over which example stands in which row and all its tokens, the same on any mesh."""
    t = batch["tokens"].shape[1]
    place_BT = jnp.uint32(0x9E3779B1) * batch["index"][:, None].astype(jnp.uint32) + jnp.arange(t, dtype=jnp.uint32)
    word_BT = (batch["tokens"].astype(jnp.uint32) + jnp.uint32(1)) * jnp.uint32(0x85EBCA77) ^ place_BT
    word_BT = (word_BT ^ (word_BT >> 15)) * jnp.uint32(0xC2B2AE3D)
    return jnp.sum(word_BT ^ (word_BT >> 13))
