"""A selective state-space model: the mixer of Mamba.

Dims: B batch, T time, L tokens of a chunk, D width, C channels, N numbers of a channel's state, R rank of the step.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model.attention import Places
from lm.model.config import Layer, ModelConfig
from lm.model.context import Context, MixerCache, Stream
from lm.model.linear import Linear
from lm.model.mixers.conv import CausalConv
from lm.model.mixers.recurrent import accumulate
from lm.model.roles import initialise
from lm.model.widths import recurrent_width, step_rank

CHUNK = 64  # states of so many tokens, [B, L, C, N], are in memory at once


class SelectiveSSM(nn.Module):
    """out(silu(gate(x)) · SSM(silu(conv(in(x))))) of Gu & Dao (2023).

    Each channel x has a state of N numbers, h_t = exp(Δ_t A) · h_(t-1) + Δ_t B_t x_t, of which C_t · h_t + D x_t is
    read; Δ, B and C are maps of the token.
    """

    cfg: ModelConfig
    layer: Layer

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, stream: Stream, context: Context, cached: MixerCache | None
    ) -> tuple[jax.Array, Stream, MixerCache | None]:
        """Returns the mixed `[B, T, D]`, the stream, and the state after the last token if one was given."""
        c, width = self.cfg, recurrent_width(self.cfg, "ssm")
        bias = c.recurrent.bias
        gate_BTC = nn.silu(Linear(c, (c.d_model, width), bias, name="recurrent_gate")(x_BTD))
        x_BTC = Linear(c, (c.d_model, width), bias, name="recurrent_in")(x_BTD)
        x_BTC = constrain(x_BTC, ("batch", "time", "recurrent"))
        state = cached or self.empty(c, x_BTD.shape[0], 0)
        x_BTC, seen = CausalConv(c, name="conv")(x_BTC, context.places, cached and cached["conv"])
        y_BTC, last_BCN = self._select(nn.silu(x_BTC), state["h"], context.places)
        if cached is not None:
            cached = {"h": last_BCN, "conv": seen}
        y_BTC = gate_BTC * y_BTC.astype(c.dtype)
        return Linear(c, (width, c.d_model), bias, name="recurrent_out")(y_BTC), stream, cached

    def _select(self, x_BTC: jax.Array, state_BCN: jax.Array, places: Places) -> tuple[jax.Array, jax.Array]:
        """Returns what is read of the state at each token, float32 `[B, T, C]`, and the state after the last."""
        c, width, size, rank = self.cfg, x_BTC.shape[-1], self.cfg.recurrent.state_width, step_rank(self.cfg)
        low_BTR, write_BTN, read_BTN = jnp.split(
            Linear(c, (width, rank + 2 * size), name="select")(x_BTC), (rank, rank + size), axis=-1
        )
        step_BTC = Linear(c, (rank, width), bias=True, out_dtype="float32", name="step")(low_BTR)
        a_log_CN = self.param("a_log", lambda key: initialise("mixer.a_log", (width, size), c, key))
        skip_C = self.param("skip", lambda key: initialise("mixer.skip", (width,), c, key))
        x_BTC = x_BTC.astype(jnp.float32)
        tokens = (jax.nn.softplus(step_BTC), x_BTC, write_BTN.astype(jnp.float32), read_BTN.astype(jnp.float32))
        y_BTC, state_BCN = selective_scan(tokens, -jnp.exp(a_log_CN), state_BCN, places)
        return y_BTC + skip_C * x_BTC, state_BCN

    @staticmethod
    def empty(cfg: ModelConfig, batch: int, slots: int) -> MixerCache:
        """Returns what stands before a document: zeros for the state and for what the convolution looks back at."""
        width = recurrent_width(cfg, "ssm")
        state = jnp.zeros((batch, width, cfg.recurrent.state_width), jnp.float32)
        return {"h": state, "conv": CausalConv.empty(cfg, batch, width)}


def selective_scan(
    tokens: tuple[jax.Array, jax.Array, jax.Array, jax.Array], rate_CN: jax.Array, state_BCN: jax.Array, places: Places
) -> tuple[jax.Array, jax.Array]:
    """Runs the recurrence over (Δ `[B, T, C]`, x `[B, T, C]`, B `[B, T, N]`, C `[B, T, N]`), chunk after chunk.

    The backward pass computes a chunk's states again: only those between chunks are kept. Returns C · h for each token
    and channel, `[B, T, C]`, and the last state.
    """
    b, t = places.segments_BT.shape
    length = min(CHUNK, t)
    n = -(-t // length)

    def chunks(a: jax.Array) -> jax.Array:
        """Fills up with padding and puts the chunks in front: `[chunks, B, L, ...]`."""
        filled = jnp.pad(a, ((0, 0), (0, n * length - t), *((0, 0),) * (a.ndim - 2)))
        return filled.reshape(b, n, length, *a.shape[2:]).swapaxes(0, 1)

    @jax.checkpoint
    def run(state_BCN: jax.Array, chunk: tuple[tuple[jax.Array, ...], Places]) -> tuple[jax.Array, jax.Array]:
        (step_BLC, x_BLC, write_BLN, read_BLN), places = chunk
        decay_BLCN = jnp.exp(step_BLC[..., None] * rate_CN)
        write_BLCN = (step_BLC * x_BLC)[..., None] * write_BLN[:, :, None]
        h_BLCN = accumulate(decay_BLCN, write_BLCN, state_BCN, places)
        return h_BLCN[:, -1], jnp.einsum("blcn,bln->blc", h_BLCN, read_BLN)

    last_BCN, y_NBLC = jax.lax.scan(run, state_BCN, jax.tree.map(chunks, (tokens, places)))
    return y_NBLC.swapaxes(0, 1).reshape(b, n * length, -1)[:, :t], last_BCN
