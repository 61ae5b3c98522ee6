"""A gated linear recurrence: the recurrent block of Griffin.

Dims: B batch, T time, D width, C channels, K blocks, I inputs and O outputs of a block.
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
from lm.model.mixers.recurrent import accumulate, begins, beside
from lm.model.mlp import gelu_tanh
from lm.model.roles import initialise
from lm.model.widths import recurrent_blocks, recurrent_width

SHARPNESS = 8.0  # the exponent c of the paper: how far an open gate can shorten the memory
LEAST = 1e-30  # under a root whose slope at 0 is infinite


class GatedLinear(nn.Module):
    """out(gelu(gate(x)) · RG-LRU(conv(in(x)))) of De et al. (2024): the real-gated linear recurrent unit.

    h_t = a_t · h_(t-1) + sqrt(1 - a_t²) · i_t · x_t, where a_t = exp(-8 · r_t · softplus(Λ)) and the gates r and i are
    sigmoids of block-diagonal maps of x; a document's first token enters at full weight.
    """

    cfg: ModelConfig
    layer: Layer

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, stream: Stream, context: Context, cached: MixerCache | None
    ) -> tuple[jax.Array, Stream, MixerCache | None]:
        """Returns the mixed `[B, T, D]`, the stream, and the state after the last token if one was given."""
        c, width = self.cfg, recurrent_width(self.cfg, "linear")
        bias = c.recurrent.bias
        gate_BTC = gelu_tanh(Linear(c, (c.d_model, width), bias, name="recurrent_gate")(x_BTD))
        x_BTC = Linear(c, (c.d_model, width), bias, name="recurrent_in")(x_BTD)
        x_BTC = constrain(x_BTC, ("batch", "time", "recurrent"))
        state = cached or self.empty(c, x_BTD.shape[0], 0)
        x_BTC, seen = CausalConv(c, name="conv")(x_BTC, context.places, cached and cached["conv"])
        h_BTC = self._recur(x_BTC, state["h"], context.places)
        if cached is not None:
            cached = {"h": h_BTC[:, -1], "conv": seen}
        y_BTC = gate_BTC * h_BTC.astype(c.dtype)
        return Linear(c, (width, c.d_model), bias, name="recurrent_out")(y_BTC), stream, cached

    def _recur(self, x_BTC: jax.Array, state_BC: jax.Array, places: Places) -> jax.Array:
        c, width = self.cfg, x_BTC.shape[-1]
        admit_BTC, shorten_BTC = (BlockGate(c, name=name)(x_BTC) for name in ("input_gate", "decay_gate"))
        forget_C = self.param("forget", lambda key: initialise("mixer.forget", (width,), c, key))
        log_decay_BTC = -SHARPNESS * shorten_BTC * jax.nn.softplus(forget_C)
        weight_BTC = jnp.sqrt(jnp.maximum(-jnp.expm1(2.0 * log_decay_BTC), LEAST))
        weight_BTC = jnp.where(beside(begins(places), weight_BTC), 1.0, weight_BTC)
        write_BTC = weight_BTC * admit_BTC * x_BTC.astype(jnp.float32)
        return accumulate(jnp.exp(log_decay_BTC), write_BTC, state_BC, places)

    @staticmethod
    def empty(cfg: ModelConfig, batch: int, slots: int) -> MixerCache:
        """Returns what stands before a document: zeros for the state and for what the convolution looks back at."""
        width = recurrent_width(cfg, "linear")
        return {"h": jnp.zeros((batch, width), jnp.float32), "conv": CausalConv.empty(cfg, batch, width)}


class BlockGate(nn.Module):
    """The sigmoid of a block-diagonal map, in float32: channels of one block decide for each other."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTC: jax.Array) -> jax.Array:
        """Maps `[B, T, C]` to itself."""
        c, blocks = self.cfg, recurrent_blocks(self.cfg)
        size = x_BTC.shape[-1] // blocks
        kernel_KIO = self._parameter("kernel", (blocks, size, size))
        bias_KO = self._parameter("bias", (blocks, size))
        x_BTKI = x_BTC.reshape(*x_BTC.shape[:-1], blocks, size)
        y_BTKO = jnp.einsum("btki,kio->btko", x_BTKI, kernel_KIO.astype(c.dtype), preferred_element_type=jnp.float32)
        return nn.sigmoid(y_BTKO + bias_KO).reshape(x_BTC.shape)

    def _parameter(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        return self.param(name, lambda key: initialise(f"{self.name}.{name}", shape, self.cfg, key))
