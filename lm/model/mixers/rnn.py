"""Recurrent networks as one learns them first: GRU and LSTM, one token after another.

Dims: B batch, T time, D width, G gates, H width of the state.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model.config import Layer, ModelConfig
from lm.model.context import Context, MixerCache, Stream
from lm.model.linear import Linear
from lm.model.mixers.recurrent import begins, real
from lm.model.roles import initialise
from lm.model.widths import recurrent_width

State = dict[str, jax.Array]


class RNN(nn.Module):
    """Steps a cell through the tokens; a map from its state to the model's width stands behind it if they differ.

    The state is in float32; `h` is what the cell tells the outside.
    """

    cfg: ModelConfig
    layer: Layer

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]]

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, stream: Stream, context: Context, cached: MixerCache | None
    ) -> tuple[jax.Array, Stream, MixerCache | None]:
        """Returns the mixed `[B, T, D]`, the stream, and the state after the last token if one was given."""
        c, width = self.cfg, recurrent_width(self.cfg, self.layer.mixer)
        into_BTGH = Linear(c, (c.d_model, self.gates, width), bias=True, out_dtype="float32", name="cell_in")(x_BTD)
        shape = (width, self.gates, width)
        kernel_HGH = self.param("state_kernel", lambda key: initialise("mixer.state_kernel", shape, c, key))
        kernel_HX = kernel_HGH.astype(c.dtype).reshape(width, -1)
        bias_GH = self.param("state_bias", lambda key: initialise("mixer.state_bias", shape[1:], c, key))

        def step(state: State, token: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[State, jax.Array]:
            into_BGH, real_B, begins_B = token
            state = {name: jnp.where(begins_B[:, None], 0.0, value) for name, value in state.items()}
            flat_BX = jnp.dot(state["h"].astype(c.dtype), kernel_HX, preferred_element_type=jnp.float32)
            after = self.cell(into_BGH, flat_BX.reshape(into_BGH.shape) + bias_GH, state)
            state = {name: jnp.where(real_B[:, None], after[name], value) for name, value in state.items()}
            return state, state["h"]

        tokens = (into_BTGH, real(context.places), begins(context.places))
        first = self.empty(c, x_BTD.shape[0], 0) if cached is None else cached
        last, h_TBH = jax.lax.scan(step, first, jax.tree.map(lambda a: a.swapaxes(0, 1), tokens))
        y_BTH = h_TBH.swapaxes(0, 1).astype(c.dtype)
        if width != c.d_model:
            y_BTH = Linear(c, (width, c.d_model), c.recurrent.bias, name="recurrent_out")(y_BTH)
        return y_BTH, stream, None if cached is None else last

    @staticmethod
    def cell(into_BGH: jax.Array, back_BGH: jax.Array, state: State) -> State:
        """Returns the next state from what the token says to each gate, and what the state does."""
        raise NotImplementedError

    @classmethod
    def empty(cls, cfg: ModelConfig, batch: int, slots: int) -> MixerCache:
        """Returns the state before a document: zeros."""
        shape = (batch, recurrent_width(cfg, "gru"))
        return {name: jnp.zeros(shape, jnp.float32) for name in cls.states}


class GRU(RNN):
    """The gated recurrent unit of Cho et al. (2014), its reset behind the state's map: as cuDNN and PyTorch have it."""

    gates = 3  # reset, update, new
    states = ("h",)

    @staticmethod
    def cell(into_BGH: jax.Array, back_BGH: jax.Array, state: State) -> State:
        """h becomes (1 - z) · n + z · h, with n = tanh(into_n + r · back_n)."""
        reset_BH, update_BH = (nn.sigmoid(into_BGH[:, g] + back_BGH[:, g]) for g in (0, 1))
        new_BH = jnp.tanh(into_BGH[:, 2] + reset_BH * back_BGH[:, 2])
        return {"h": (1.0 - update_BH) * new_BH + update_BH * state["h"]}


class LSTM(RNN):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997) with forget gates (Gers et al., 2000)."""

    gates = 4  # input, forget, new, output
    states = ("h", "c")

    @staticmethod
    def cell(into_BGH: jax.Array, back_BGH: jax.Array, state: State) -> State:
        """c becomes f · c + i · tanh(new), and h is o · tanh(c)."""
        in_BH, forget_BH, new_BH, out_BH = jnp.unstack(into_BGH + back_BGH, axis=1)
        c_BH = nn.sigmoid(forget_BH) * state["c"] + nn.sigmoid(in_BH) * jnp.tanh(new_BH)
        return {"h": nn.sigmoid(out_BH) * jnp.tanh(c_BH), "c": c_BH}
