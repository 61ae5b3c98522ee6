"""Ring attention: a row's tokens split over the mesh's context axis, keys and values passed from device to device.

Liu et al. (2023). Each device keeps its queries and, as blocks of keys come round, the softmax so far: its maximum,
its sum and the weighted values.

Dims: B batch, T query time, S key time (both of one device), H query heads, K key/value heads, G = H/K group,
N head width, M value width.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lm.common import mesh as meshes
from lm.model.attention.places import Places, Scores
from lm.model.attention.scoring import MASKED, score

AXIS = "context"


class _Softmax(NamedTuple):
    """The softmax over the keys seen so far, not yet divided; all float32."""

    top_BKGT: jax.Array
    sum_BKGT: jax.Array
    mixed_BKGTM: jax.Array


def attend(
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKM: jax.Array,
    queries: Places,
    keys: Places,
    scores: Scores,
    *,
    aligned: bool,
) -> jax.Array:
    """Computes `attention.attend` with time sharded over the context axis of the mesh in force."""
    assert aligned
    by_head = (scores.sinks_H, scores.slopes_H)  # each device gets those of its own heads
    local = partial(_attend_local, scores=scores._replace(sinks_H=None, slopes_H=None), devices=meshes.size(AXIS))
    if jax.sharding.get_abstract_mesh().empty:
        return local(q_BTHN, k_BSKN, v_BSKM, queries, keys, by_head)
    q, kv = (meshes.spec(("batch", "time", heads, None)) for heads in ("heads", "kv_heads"))
    row: Any = meshes.spec(("batch", "time"))
    place = Places(row, row)
    heads = jax.tree.map(lambda _: meshes.spec(("heads",)), by_head)
    sharded = meshes.shard_map(local, in_specs=(q, kv, kv, place, place, heads), out_specs=q)
    return sharded(q_BTHN, k_BSKN, v_BSKM, queries, keys, by_head)


def _attend_local(
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKM: jax.Array,
    queries: Places,
    keys: Places,
    by_head: tuple[jax.Array | None, jax.Array | None],
    *,
    scores: Scores,
    devices: int,
) -> jax.Array:
    sinks_H, slopes_H = by_head
    scores = scores._replace(slopes_H=slopes_H)
    b, t, h, _ = q_BTHN.shape
    k, m = v_BSKM.shape[2:]
    heads = (b, k, h // k, t)
    so_far = _Softmax(jnp.full(heads, MASKED), jnp.zeros(heads), jnp.zeros((*heads, m)))
    block = (k_BSKN, v_BSKM, keys)

    @jax.checkpoint  # the backward pass goes round the ring once more instead of keeping every block's scores
    def meet(so_far: _Softmax, block: tuple[jax.Array, jax.Array, Places]) -> _Softmax:
        return _merge(so_far, score(q_BTHN, block[0], queries, block[2], scores), block[1])

    onward = [(i, (i + 1) % devices) for i in range(devices)]
    for turn in range(devices):
        so_far = meet(so_far, block)
        if turn + 1 < devices:
            block = jax.tree.map(lambda a: jax.lax.ppermute(a, AXIS, onward), block)
    return _divide(so_far, sinks_H).swapaxes(1, 3).swapaxes(2, 3).reshape(b, t, h, m).astype(q_BTHN.dtype)


def _merge(so_far: _Softmax, score_BKGTS: jax.Array, v_BSKM: jax.Array) -> _Softmax:
    """Adds a block of keys to the softmax, in the scale of the larger maximum (Milakov & Gimelshein, 2018)."""
    top_BKGT = jnp.maximum(so_far.top_BKGT, jnp.max(score_BKGTS, axis=-1))
    kept_BKGT = jnp.exp(so_far.top_BKGT - top_BKGT)
    weight_BKGTS = jnp.where(score_BKGTS > MASKED, jnp.exp(score_BKGTS - top_BKGT[..., None]), 0.0)
    mixed_BKGTM = jnp.einsum("bkgts,bskm->bkgtm", weight_BKGTS, v_BSKM, preferred_element_type=jnp.float32)
    return _Softmax(
        top_BKGT,
        kept_BKGT * so_far.sum_BKGT + jnp.sum(weight_BKGTS, axis=-1),
        kept_BKGT[..., None] * so_far.mixed_BKGTM + mixed_BKGTM,
    )


def _divide(so_far: _Softmax, sinks_H: jax.Array | None) -> jax.Array:
    """Returns the weighted mean `[B, K, G, T, M]`; a sink adds to the sum, and a row with nothing to see is 0."""
    top_BKGT, sum_BKGT, mixed_BKGTM = so_far
    if sinks_H is not None:
        _, k, g, _ = top_BKGT.shape
        sink_KG1 = sinks_H.astype(jnp.float32).reshape(k, g, 1)
        higher_BKGT = jnp.maximum(top_BKGT, sink_KG1)
        kept_BKGT = jnp.exp(top_BKGT - higher_BKGT)
        sum_BKGT = kept_BKGT * sum_BKGT + jnp.exp(sink_KG1 - higher_BKGT)
        mixed_BKGTM = kept_BKGT[..., None] * mixed_BKGTM
    return mixed_BKGTM / jnp.where(sum_BKGT == 0.0, 1.0, sum_BKGT)[..., None]
