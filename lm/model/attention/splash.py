"""Splash attention: JAX's Pallas kernel for TPUs, which skips the blocks that a causal or sliding mask empties.

Dims: B batch, T time, H query heads, K key/value heads, N head width, M value width.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

from lm.common import mesh as meshes
from lm.model.attention.places import Places, Scores

LANES = 128  # the kernel works on blocks of a multiple of this many tokens, and on heads of so many numbers
BLOCK = 512


def attend(
    q_BTHN: jax.Array,
    k_BSKN: jax.Array,
    v_BSKM: jax.Array,
    queries: Places,
    keys: Places,
    scores: Scores,
    *,
    aligned: bool,
    interpret: bool = False,
) -> jax.Array:
    """Computes `attention.attend` on a TPU, or slowly anywhere where `interpret` is set.

    Rows are padded to whole blocks and heads to whole lanes. The kernel masks by place in the row; a document's tokens
    stand side by side, so within a segment that is the same as by position.
    """
    assert aligned
    local = partial(_attend_local, scores=scores._replace(sinks_H=None), interpret=interpret)
    if jax.sharding.get_abstract_mesh().empty:
        return local(q_BTHN, k_BSKN, v_BSKM, queries.segments_BT, scores.sinks_H)
    q, kv = (meshes.spec(("batch", None, heads, None)) for heads in ("heads", "kv_heads"))
    segments = meshes.spec(("batch", None))
    sink = None if scores.sinks_H is None else meshes.spec(("heads",))
    sharded = meshes.shard_map(local, in_specs=(q, kv, kv, segments, sink), out_specs=q)
    return sharded(q_BTHN, k_BSKN, v_BSKM, queries.segments_BT, scores.sinks_H)


def _attend_local(
    q_BTHN: jax.Array,
    k_BTKN: jax.Array,
    v_BTKM: jax.Array,
    segments_BT: jax.Array,
    sinks_H: jax.Array | None,
    *,
    scores: Scores,
    interpret: bool,
) -> jax.Array:
    t, h, m = q_BTHN.shape[1], q_BTHN.shape[2], v_BTKM.shape[-1]
    length = -(-t // LANES) * LANES
    block = next(size for size in (BLOCK, 256, LANES) if length % size == 0)
    q_BHTN, k_BKTN, v_BKTM = (_padded(a, length).swapaxes(1, 2) for a in (scores.scale * q_BTHN, k_BTKN, v_BTKM))
    segments_BT = jnp.pad(segments_BT, ((0, 0), (0, length - t)))
    run = _kernel(length, h, block, scores.window, scores.softcap, interpret)

    def row(q_HTN: jax.Array, k_KTN: jax.Array, v_KTM: jax.Array, segments_T: jax.Array) -> Any:
        return run(q_HTN, k_KTN, v_KTM, kernel.SegmentIds(segments_T, segments_T), sinks_H)

    o_BHTM = jax.vmap(row)(q_BHTN.astype(q_BTHN.dtype), k_BKTN, v_BKTM, segments_BT)
    return o_BHTM.swapaxes(1, 2)[:, :t, :, :m]


def _padded(a_BTHN: jax.Array, length: int) -> jax.Array:
    """Fills rows up to `length` and heads up to whole lanes with zeros, which change no score and no sum."""
    _, t, _, n = a_BTHN.shape
    return jnp.pad(a_BTHN, ((0, 0), (0, length - t), (0, 0), (0, -n % LANES)))


def _kernel(
    length: int, heads: int, block: int, window: int, softcap: float, interpret: bool
) -> kernel.SplashAttentionKernel:
    shape = (length, length)
    mask = masks.LocalMask(shape, (window - 1, 0), 0) if window else masks.CausalMask(shape)
    sizes = kernel.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block,
        block_q_dkv=block, block_kv_dkv=block, block_kv_dkv_compute=block, block_q_dq=block, block_kv_dq=block,
    )  # fmt: skip
    return kernel.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        attn_logits_soft_cap=softcap or None,
        interpret=interpret,
    )
