"""Multi-token prediction: what stands further ahead than the next token, foretold in training (DeepSeek-AI, 2024).

Depth k adds the k-th token after a place to what depth k - 1 knew there (the decoder, at depth 0), and is read by the
decoder's own norm and head as a guess at the token after that one. Nothing else depends on these parameters.

Dims: B batch, T time, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model import hyper
from lm.model.block import Block
from lm.model.config import ModelConfig
from lm.model.context import Context, Stream
from lm.model.linear import Linear
from lm.model.norms import Norm


class Ahead(nn.Module):
    """One depth: [norm(h), norm(embedding of a later token)], merged by a matrix, through a block like the last layer.

    Its feed-forward layer is dense where the last layer's is routed.
    """

    cfg: ModelConfig
    depth: int

    @nn.compact
    def __call__(self, h_BTD: jax.Array, later_BTD: jax.Array, context: Context) -> jax.Array:
        """Returns what this depth knows at each place, `[B, T, D]`, from what the one before knew."""
        c = self.cfg
        pair_BT2D = jnp.stack([Norm(c, name="hidden_norm")(h_BTD), Norm(c, name="token_norm")(later_BTD)], axis=-2)
        x_BTD = Linear(c, (2, c.d_model, c.d_model), name="merge")(pair_BT2D)
        block = Block(c, replace(c.layers[-1], n_experts=0), name="block")
        stream, _, _ = block(Stream(hyper.spread(c, x_BTD)), context._replace(layer=c.n_layers + self.depth - 1))
        return hyper.gather(c, stream.x)


def later(a_BT: jax.Array, steps: int) -> jax.Array:
    """Returns at each place what stands `steps` places further on; the last places hold something else."""
    return jnp.roll(a_BT, -steps, axis=1)


def has_later(segments_BT: jax.Array, steps: int) -> jax.Array:
    """Says where the place `steps` further on is there and of the same document."""
    there_T = jnp.arange(segments_BT.shape[1]) < segments_BT.shape[1] - steps
    return there_T & (later(segments_BT, steps) == segments_BT)


def left_out(cfg: ModelConfig, params: Any) -> tuple[ModelConfig, Any]:
    """Returns the model without what foretells: the same next-token logits from fewer parameters."""
    kept = {name: leaf for name, leaf in params.items() if not name.startswith("ahead_")}
    return replace(cfg, predict_ahead=0), kept


def notes(depths: int) -> list[str]:
    """Returns what a reader should know of a model that was written without its depths of foretelling."""
    return [f"model.predict_ahead={depths}: not written, since it acts in training alone"] if depths else []
