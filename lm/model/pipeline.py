"""Pipeline parallelism: each device along `pipeline` holds groups of consecutive layers, and micro-batches go round.

Of R·P groups over P stages, stage s holds groups s, s + P, s + 2P, …, so that a micro-batch has met every layer in
order when it has gone round the ring R times. All M micro-batches go round once before the first goes round again: in
tick t stage s works on number t - s of that sequence of M·R, and hands what it made to the next stage. There are
M·R + P - 1 ticks, in P - 1 of which a stage has nothing of use to do: the bubble is (P - 1) / (M·R + P - 1) of the
time. One repeat is GPipe (Huang et al., 2019); more are the interleaved stages of Narayanan et al. (2021), here all
forward before all backward: the backward pass is the derivative of this one, and runs the ring backwards.

A micro-batch is back at the first stage P ticks after it left it, and due M ticks after, so M must be at least P, and
waits there in between.

Dims: B batch, M micro-batches, P stages, R repeats, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model.config import ModelConfig
from lm.model.context import Context, Stream

AXIS = "pipeline"
_ENTERS = "enters a layer"


def bubble(stages: int, microbatches: int, repeats: int = 1) -> float:
    """Returns the share of its time for which a stage has nothing to do."""
    return (stages - 1) / ticks(stages, microbatches, repeats)


def ticks(stages: int, microbatches: int, repeats: int) -> int:
    """Returns how often a stage runs a group of its layers, of use or not."""
    return microbatches * repeats + stages - 1


class Turn(NamedTuple):
    """What a stage does in a tick: which time round it is, of which micro-batch, and whether that is of any use."""

    repeat: jax.Array
    microbatch: jax.Array
    useful: jax.Array


def turn(tick: Any, stage: Any, microbatches: int, repeats: int) -> Turn:
    """Returns what a stage does in a tick; where there is nothing, the first or the last thing it ever does."""
    number = tick - stage
    inside = jnp.clip(number, 0, microbatches * repeats - 1)
    return Turn(inside // microbatches, inside % microbatches, number == inside)


class Move(NamedTuple):
    """A group of layers on its way from where it is stored to where it is run, by stage and place there."""

    source: int
    stored: int
    target: int
    repeat: int


def moves(stages: int, repeats: int) -> list[list[Move]]:
    """Returns how groups of layers get to their stages: rounds in which each stage sends one and receives one.

    Stored in order, stage s has groups s·R to s·R + R - 1, which keeps the parameters' layout free of the schedule.
    """
    common = math.gcd(stages, repeats)

    def move(number: int, source: int) -> Move:
        stored = (number + source * common // stages) % repeats  # stages that would send to the same one take turns
        repeat, target = divmod(source * repeats + stored, stages)
        return Move(source, stored, target, repeat)

    return [[move(number, source) for source in range(stages)] for number in range(repeats)]


def parts(cfg: ModelConfig, stages: int) -> int:
    """Returns into how many micro-batches a batch is cut."""
    return cfg.pipeline_microbatches or stages


def check(cfg: ModelConfig, stages: int) -> None:
    """Checks that a model's layers can go round so many stages.

    Raises:
        UserError: layers that are no loop, or do not divide; a micro-batch that would be due before it is back.
    """
    if stages == 1:
        return
    if not cfg.scan_layers:
        raise UserError(f"mesh.pipeline={stages}: stages run loops; set model.scan_layers=True")
    repeats, layers = cfg.pipeline_repeats, cfg.n_layers - cfg.n_lead
    if layers % (cfg.period * stages * repeats):
        raise UserError(
            f"mesh.pipeline={stages} × model.pipeline_repeats={repeats} groups: {layers} layers that repeat every "
            f"{cfg.period} do not divide into them; choose divisors of {layers // cfg.period}"
        )
    if repeats > 1 and parts(cfg, stages) < stages:
        raise UserError(
            f"model.pipeline_microbatches={cfg.pipeline_microbatches}: with model.pipeline_repeats={repeats} the first "
            f"is due again before it is back; use at least mesh.pipeline={stages}"
        )


def run(
    cfg: ModelConfig,
    layers: Callable[[Stream, Context, Any], tuple[Stream, Any]],
    stream: Stream,
    context: Context,
    stacked: Any,
) -> tuple[Stream, Any]:
    """Runs `layers(stream, context, stacked)` with what is stacked split over the stages.

    `stacked` holds parameters and numbers of layers, `[L, ...]` in order. What `layers` reports beside the stream,
    `[L, ...]`, is added up over micro-batches: it must be made of sums over rows. What `model.remat` says is done here,
    and `layers` calls `mark` on what enters each of them.

    Raises:
        UserError: as `check`; the rows of the batch do not divide into so many micro-batches.
    """
    rows, stages, repeats = stream.x.shape[0], meshes.size(AXIS), cfg.pipeline_repeats
    microbatches = parts(cfg, stages)
    check(cfg, stages)
    if rows % microbatches:
        raise UserError(
            f"model.pipeline_microbatches={microbatches} does not divide the {rows} rows that a step computes at once"
        )
    # In float32, as what is added up over stages on the way back is, and CPUs have no such sum in bfloat16.
    by_row = (jax.tree.map(lambda a: a.astype(jnp.float32), stream), context.places, context.dropout_keys_B)
    cut = jax.tree.map(lambda a: meshes.split_rows(a, microbatches), by_row)

    def on_a_stage(stacked: Any, cut: Any) -> tuple[Stream, Any]:
        stage = jax.lax.axis_index(AXIS)
        owned = jax.tree.map(lambda a: _deal(a, stage, stages, repeats), stacked)

        def work(stream: Stream, now: Turn) -> tuple[Stream, Any]:
            _, places, keys = _take(cut, now.microbatch)
            group = _take(owned, now.repeat)
            return layers(stream, context._replace(places=places, dropout_keys_B=keys), group)

        work = jax.checkpoint(work, policy=_kept(cfg, owned), prevent_cse=False)

        def tick(carry: tuple[Stream, Stream, Any], t: jax.Array) -> tuple[tuple[Stream, Stream, Any], None]:
            entering, arrived, reports = carry
            now, back = turn(t, stage, microbatches, repeats), turn(t, stages - 1, microbatches, repeats)
            made, reported = work(_choose(stage == 0, _take(entering, now.microbatch), arrived), now)
            reports = jax.tree.map(
                lambda a, new: a.at[now.repeat].add(jnp.where(now.useful, new, 0)), reports, reported
            )
            around = [(i, (i + 1) % stages) for i in range(stages)]
            arrived = jax.tree.map(lambda a: jax.lax.ppermute(a, AXIS, around), made)
            kept = _choose(back.useful, arrived, _take(entering, back.microbatch))
            entering = jax.tree.map(lambda a, new: _put(a, new, back.microbatch), entering, kept)
            return (entering, arrived, reports), None

        # What enters the first stage next, by micro-batch: at last, what has gone round as often as it has to.
        entering = jax.tree.map(lambda a, like: a.astype(like.dtype), cut[0], stream)
        empty = jax.tree.map(lambda a: jnp.zeros_like(a[0]), entering)
        shapes = jax.eval_shape(work, empty, turn(0, 0, microbatches, repeats))[1]
        nothing = jax.tree.map(lambda shape: jnp.zeros((repeats, *shape.shape), shape.dtype), shapes)
        numbers = jnp.arange(ticks(stages, microbatches, repeats))
        (entering, _, reports), _ = jax.lax.scan(tick, (entering, empty, nothing), numbers)
        return jax.tree.map(lambda a: _from(stage == 0, a), entering), reports

    spread = jax.shard_map(
        on_a_stage,
        in_specs=(PartitionSpec(AXIS), PartitionSpec()),
        out_specs=(PartitionSpec(), PartitionSpec(None, AXIS)),
        axis_names={AXIS},
        check_vma=False,
    )
    made, reports = spread(stacked, cut)
    reports = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), reports)
    return jax.tree.map(_join, made), reports


def mark(stream: Stream) -> Stream:
    """Marks what enters a layer, of which `model.remat=block` keeps no more."""
    marked: Stream = checkpoint_name(stream, _ENTERS)
    return marked


_FORMS = ("dynamic_slice", "squeeze", "reshape", "transpose", "convert_element_type")


def _kept(cfg: ModelConfig, owned: Any) -> Callable[..., Any]:
    """Returns what is kept of each tick for the backward pass: what `model.remat` says, but no weights in any form.

    A stage runs other layers in other ticks, so that there would be a copy for each tick.
    """
    policies = jax.checkpoint_policies
    if cfg.remat != "none":
        named = policies.save_only_these_names(_ENTERS)
        return named if cfg.remat == "block" else policies.dots_with_no_batch_dims_saveable
    sizes = {size for a in jax.tree.leaves(owned) for size in (a.size, a[0].size, a[0, 0].size)}

    def keep(primitive: Any, *inputs: Any, **_: Any) -> bool:
        return not (primitive.name in _FORMS and inputs[0].size in sizes)

    return keep


def _deal(array: jax.Array, stage: jax.Array, stages: int, repeats: int) -> jax.Array:
    """Turns the layers that a stage stores, `[L/P, ...]`, into the groups that it runs, `[R, L/(P·R), ...]`."""
    groups = array.reshape(repeats, -1, *array.shape[1:])
    if repeats == 1:
        return groups
    dealt = jnp.zeros_like(groups)
    for one in moves(stages, repeats):
        stored = jnp.asarray([move.stored for move in one])[stage]
        repeat = jnp.asarray([move.repeat for move in sorted(one, key=lambda move: move.target)])[stage]
        sent = jax.lax.ppermute(_take(groups, stored), AXIS, [(move.source, move.target) for move in one])
        dealt = _put(dealt, sent, repeat)
    return dealt


def _take(stacked: Any, index: jax.Array) -> Any:
    """Returns one of what is stacked."""
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, index, keepdims=False), stacked)


def _put(array: jax.Array, new: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(array, new, index, 0)


def _choose(first: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)


def _from(here: jax.Array, array: jax.Array) -> jax.Array:
    """Gives every stage what one has; summed in float32, as CPUs have no such sum in bfloat16."""
    kept = jnp.where(here, array, jnp.zeros_like(array))
    return jax.lax.psum(kept.astype(jnp.float32), AXIS).astype(array.dtype)


def _join(array: jax.Array) -> jax.Array:
    """Undoes `meshes.split_rows`."""
    swapped = array.swapaxes(0, 1)
    return swapped.reshape(swapped.shape[0] * swapped.shape[1], *swapped.shape[2:])
