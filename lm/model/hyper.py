"""Hyper-connections (Zhu et al., 2024): the residual stream as parallel streams, mixed by learned weights.

A branch reads a weighted sum of the streams; the streams are mixed among themselves, and what the branch writes is
added to each with a weight of its own. At the start, as all streams are copies, it is the ordinary residual.

Dims: B batch, T time, D width, P streams before a branch, Q streams after it.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig
from lm.model.linear import product
from lm.model.norms import Norm
from lm.model.roles import initialise


class Plain:
    """The ordinary residual: a branch reads the one stream, and is added to it."""

    def read(self, x_BTD: jax.Array) -> jax.Array:
        """Returns what the branch reads, `[B, T, D]`."""
        return x_BTD

    def write(self, x_BTD: jax.Array, branch_BTD: jax.Array) -> jax.Array:
        """Returns the stream after the branch, `[B, T, D]`."""
        return x_BTD + branch_BTD


class Weighted(NamedTuple):
    """One branch's weights in float32, with `[B, T]` in front where they depend on the input."""

    read_P: jax.Array
    mix_PQ: jax.Array
    write_Q: jax.Array

    def read(self, x_BTPD: jax.Array) -> jax.Array:
        """Returns what the branch reads, `[B, T, D]`."""
        read_BTD = jnp.einsum("...p,...pd->...d", self.read_P, x_BTPD, precision=jax.lax.Precision.HIGHEST)
        return read_BTD.astype(x_BTPD.dtype)

    def write(self, x_BTPD: jax.Array, branch_BTD: jax.Array) -> jax.Array:
        """Returns the streams after the branch, `[B, T, Q, D]`."""
        mixed_BTQD = jnp.einsum("...pq,...pd->...qd", self.mix_PQ, x_BTPD, precision=jax.lax.Precision.HIGHEST)
        return (mixed_BTQD + self.write_Q[..., None] * branch_BTD[..., None, :]).astype(x_BTPD.dtype)


class Hyper(nn.Module):
    """The weights of one branch; what is stored is added to where they start.

    The start is to read one stream, the layer's next branch the next one so that they grow apart, to mix none, and to
    write to all. `hyper_dynamic` adds the tanh of a map of each stream, times two small learned factors (the paper's
    s_α, s_β).
    """

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTPD: jax.Array, number: jax.Array | int) -> Weighted:
        """Returns the weights for the streams that a branch meets; at the start it reads stream `number` mod P."""
        n = self.cfg.hyper_streams
        read_P = jax.nn.one_hot(number % n, n) + self._stored("read", n)
        mix_PQ = jnp.eye(n) + self._stored("mix", n, n)
        write_Q = 1.0 + self._stored("write", n)
        if not self.cfg.hyper_dynamic:
            return Weighted(read_P, mix_PQ, write_Q)
        kernel = self._stored("kernel", self.cfg.d_model, n + 2).astype(self.cfg.dtype)
        seen_BTPD = Norm(self.cfg, name="hyper_norm")(x_BTPD)
        found = jnp.tanh(product(seen_BTPD, kernel, "float32"))  # a stream's n + 2 numbers: to read, to mix, to write
        for_reading, for_writing = self._stored("factors", 2)
        return Weighted(
            read_P + for_reading * found[..., 0],
            mix_PQ + for_reading * found[..., 1:-1],
            write_Q + for_writing * found[..., -1],
        )

    def _stored(self, name: str, *shape: int) -> jax.Array:
        return self.param(name, lambda key: initialise(f"hyper.{name}", shape, self.cfg, key))


def spread(cfg: ModelConfig, x_BTD: jax.Array) -> jax.Array:
    """Returns the streams that enter the first layer: copies `[B, T, P, D]`, or the one as it is."""
    if cfg.hyper_streams == 1:
        return x_BTD
    return jnp.broadcast_to(x_BTD[..., None, :], (*x_BTD.shape[:-1], cfg.hyper_streams, x_BTD.shape[-1]))


def gather(cfg: ModelConfig, x: jax.Array) -> jax.Array:
    """Returns the mean of the streams that leave the last layer, `[B, T, D]`.

    The paper sums them, from which an RMS or layer norm cannot tell it; the mean starts as the ordinary residual with
    any final norm, and so needs no smaller start of what is written.
    """
    return x if cfg.hyper_streams == 1 else jnp.mean(x, axis=-2)
