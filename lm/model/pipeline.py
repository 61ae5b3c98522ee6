"""Pipeline parallelism: each device along `pipeline` holds a run of consecutive layers, and micro-batches go round.

In tick t stage s works on micro-batch t - s and hands what it made to the next stage; of M micro-batches over P stages
there are M + P - 1 ticks, in P - 1 of which a stage has nothing of use to do (GPipe, Huang et al., 2019): the bubble
is (P - 1) / (M + P - 1) of the time. The backward pass is the derivative of this one, and runs the ring backwards.

Dims: B batch, M micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model.context import Context, Stream

AXIS = "pipeline"


def bubble(stages: int, microbatches: int) -> float:
    """Returns the share of its time for which a stage has nothing to do."""
    return (stages - 1) / (microbatches + stages - 1)


def run(
    layers: Callable[[Stream, Context, Any], tuple[Stream, Any]],
    stream: Stream,
    context: Context,
    stacked: Any,
    microbatches: int,
) -> tuple[Stream, Any]:
    """Runs `layers(stream, context, stacked)` with what is stacked split over the stages.

    `stacked` holds parameters and numbers of layers, `[layers, ...]`. What `layers` reports beside the stream,
    `[layers, ...]`, is added up over micro-batches: it must be made of sums over rows.

    Raises:
        UserError: the rows of the batch do not divide into so many micro-batches.
    """
    rows, stages = stream.x.shape[0], meshes.size(AXIS)
    if rows % microbatches:
        raise UserError(
            f"model.pipeline_microbatches={microbatches} does not divide the {rows} rows that a step computes at once"
        )
    by_row = (stream, context.places, context.dropout_keys_B)
    parts = jax.tree.map(lambda a: meshes.split_rows(a, microbatches), by_row)

    def on_a_stage(stacked: Any, parts: Any) -> tuple[Stream, Any]:
        stage, ticks = jax.lax.axis_index(AXIS), microbatches + stages - 1

        def work(stream: Stream, number: jax.Array) -> tuple[Stream, Any]:
            _, places, keys = jax.tree.map(lambda a: a[jnp.clip(number, 0, microbatches - 1)], parts)
            return layers(stream, context._replace(places=places, dropout_keys_B=keys), stacked)

        def tick(carry: tuple[Stream, Any], t: jax.Array) -> tuple[tuple[Stream, Any], Stream]:
            arrived, reports = carry
            number = t - stage
            fresh = jax.tree.map(lambda a: a[jnp.clip(t, 0, microbatches - 1)], parts[0])
            made, reported = work(_choose(stage == 0, fresh, arrived), number)
            useful = (number >= 0) & (number < microbatches)
            reports = jax.tree.map(lambda total, new: total + jnp.where(useful, new, 0), reports, reported)
            around = [(i, (i + 1) % stages) for i in range(stages)]
            return (jax.tree.map(lambda a: jax.lax.ppermute(a, AXIS, around), made), reports), made

        empty = jax.tree.map(lambda a: jnp.zeros_like(a[0]), parts[0])
        shapes = jax.eval_shape(work, empty, jnp.int32(0))[1]
        nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        (_, reports), made = jax.lax.scan(tick, (empty, nothing), jnp.arange(ticks))
        last = jax.tree.map(lambda a: a[stages - 1 :], made)  # from the last stage, micro-batch after micro-batch
        return jax.tree.map(lambda a: _from_last(a, stage == stages - 1), last), reports

    spread = jax.shard_map(
        on_a_stage,
        in_specs=(PartitionSpec(AXIS), PartitionSpec()),
        out_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        axis_names={AXIS},
        check_vma=False,
    )
    made, reports = spread(stacked, parts)
    return jax.tree.map(_join, made), reports


def _choose(first: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)


def _from_last(array: jax.Array, is_last: jax.Array) -> jax.Array:
    """Gives every stage what the last one has; summed in float32, as CPUs have no such sum in bfloat16."""
    kept = jnp.where(is_last, array, jnp.zeros_like(array))
    return jax.lax.psum(kept.astype(jnp.float32), AXIS).astype(array.dtype)


def _join(array: jax.Array) -> jax.Array:
    """Undoes `meshes.split_rows`."""
    swapped = array.swapaxes(0, 1)
    return swapped.reshape(swapped.shape[0] * swapped.shape[1], *swapped.shape[2:])
