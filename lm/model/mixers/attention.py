"""Softmax attention over keys and values of each head, with its published variations.

Dims: B batch, T query time, S key time, D width, H query heads, K key/value heads, N head width.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model import rope
from lm.model.attention import Places, Scores, attend
from lm.model.attention.scoring import alibi_slopes
from lm.model.config import Layer, ModelConfig
from lm.model.context import Context, MixerCache, Stream
from lm.model.linear import Linear
from lm.model.norms import Norm
from lm.model.roles import initialise
from lm.model.widths import key_width, rotary_width


class Attending(nn.Module):
    """What every mixer shares that scores keys: how they are scored, and the gate on what is read."""

    cfg: ModelConfig
    layer: Layer

    def _scores(self) -> Scores:
        """Says how queries and keys score."""
        c = self.cfg
        sinks_H = None
        if c.attention_sinks:
            sinks_H = self.param("sinks", lambda key: initialise("mixer.sinks", (c.n_heads,), c, key))
        scale = c.attention_scale or 1.0 / math.sqrt(key_width(c, self.layer))
        slopes_H = jnp.asarray(alibi_slopes(c.n_heads)) if self.layer.position == "alibi" else None
        return Scores(scale, self.layer.window, c.attention_softcap, slopes_H, sinks_H)

    def _gate(self, o_BTHN: jax.Array, x_BTD: jax.Array) -> jax.Array:
        """Lets the input close each head, or each number of each head, by a sigmoid (Qiu et al., 2025)."""
        c = self.cfg
        if c.attention_gate == "head":
            return o_BTHN * nn.sigmoid(Linear(c, (c.d_model, c.n_heads), name="head_gate")(x_BTD))[..., None]
        if c.attention_gate == "element":
            return o_BTHN * nn.sigmoid(Linear(c, (c.d_model, *o_BTHN.shape[2:]), name="element_gate")(x_BTD))
        return o_BTHN


class Attention(Attending):
    """Causal grouped-query attention (Ainslie et al., 2023); K = H is multi-head, K = 1 multi-query."""

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, stream: Stream, context: Context, cached: MixerCache | None
    ) -> tuple[jax.Array, Stream, MixerCache | None]:
        """Returns the mixed `[B, T, D]`, the stream, and the `cached` keys and values, `[B, S, K, N]`, extended."""
        c = self.cfg
        q_BTHN, k_BSKN, v_BSKN = self._project(x_BTD, context)
        if c.value_residual:
            v_BSKN, stream = self._mix_values(v_BSKN, stream, context)
        keys = context.places
        if cached is not None:
            cached, keys = extend(cached, {"k": k_BSKN, "v": v_BSKN}, context)
            k_BSKN, v_BSKN = cached["k"], cached["v"]
        q_BTHN = constrain(q_BTHN, ("batch", "time", "heads", "head_width"))
        o_BTHN = self._gate(self._attend(q_BTHN, k_BSKN, v_BSKN, keys, context, aligned=cached is None), x_BTD)
        return Linear(c, (c.n_heads, c.head_width, c.d_model), c.o_bias, name="o")(o_BTHN), stream, cached

    def _project(self, x_BTD: jax.Array, context: Context) -> tuple[jax.Array, jax.Array, jax.Array]:
        c = self.cfg
        q_BTHN = Linear(c, (c.d_model, c.n_heads, c.head_width), c.qkv_bias, name="q")(x_BTD)
        k_BTKN = Linear(c, (c.d_model, c.n_kv_heads, c.head_width), c.qkv_bias, name="k")(x_BTD)
        v_BTKN = Linear(c, (c.d_model, c.n_kv_heads, c.head_width), c.qkv_bias, name="v")(x_BTD)
        if c.qkv_clip:
            q_BTHN, k_BTKN, v_BTKN = (jnp.clip(a, -c.qkv_clip, c.qkv_clip) for a in (q_BTHN, k_BTKN, v_BTKN))
        if c.qk_norm != "none":  # by head (Dehghani et al., 2023; Qwen 3), or over all heads at once (OLMo 2)
            axes = 2 if c.qk_norm == "full" else 1
            q_BTHN, k_BTKN = Norm(c, "rms", axes, name="q_norm")(q_BTHN), Norm(c, "rms", axes, name="k_norm")(k_BTKN)
        if self.layer.position == "rope":
            turns_R = rope.frequencies(c.rope, rotary_width(c), self.layer.theta, self.layer.factor)
            size = rope.magnitude(c.rope, self.layer.factor)
            q_BTHN, k_BTKN = (rope.rotate(a, context.places.positions_BT, turns_R, size) for a in (q_BTHN, k_BTKN))
        return q_BTHN, k_BTKN, v_BTKN

    def _attend(
        self,
        q_BTHN: jax.Array,
        k_BSKN: jax.Array,
        v_BSKN: jax.Array,
        keys: Places,
        context: Context,
        *,
        aligned: bool,
    ) -> jax.Array:
        """Returns what each head reads, `[B, T, H, N]`."""
        c, queries, scores = self.cfg, context.places, self._scores()
        return attend(c.attention_backend, q_BTHN, k_BSKN, v_BSKN, queries, keys, scores, aligned=aligned)

    def _mix_values(self, v_BTKN: jax.Array, stream: Stream, context: Context) -> tuple[jax.Array, Stream]:
        """Blends in the first layer's values by two learned weights (Zhou et al., 2024)."""
        assert stream.first_v_BTKN is not None
        first_v_BTKN = jnp.where(context.layer == 0, v_BTKN, stream.first_v_BTKN)
        own, first = self.param("value_mix", lambda key: initialise("mixer.value_mix", (2,), self.cfg, key))
        return (own * v_BTKN + first * first_v_BTKN).astype(v_BTKN.dtype), stream._replace(first_v_BTKN=first_v_BTKN)

    @staticmethod
    def empty(cfg: ModelConfig, batch: int, slots: int) -> MixerCache:
        """Returns zeros for the keys and values of `slots` tokens a row."""
        shape = (batch, slots, cfg.n_kv_heads, cfg.head_width)
        return {"k": jnp.zeros(shape, cfg.dtype), "v": jnp.zeros(shape, cfg.dtype)}


def extend(cached: MixerCache, new: MixerCache, context: Context) -> tuple[MixerCache, Places]:
    """Writes this call's `[B, T, ...]` into their slots of `[B, S, ...]`; returns all, and where they stand."""
    assert context.slots is not None

    def write(old: jax.Array, now: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(old, now.astype(old.dtype), context.start, axis=1)

    return {name: write(cached[name], now) for name, now in new.items()}, context.slots
