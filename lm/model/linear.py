"""Linear maps, named by their role.

Dims: B batch, T time, I inputs, O outputs.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import size
from lm.model import quantized
from lm.model.config import ModelConfig
from lm.model.roles import ROLES, initialise


def product(x_BTI: jax.Array, kernel_IO: jax.Array, out_dtype: str | None = None, quantize: str = "none") -> jax.Array:
    """Multiplies `[B, T, I]` into `[B, T, O]`, as one two-dimensional product unless rows are split over devices.

    A weight gradient that contracts two leading axes goes through layout copies on a CPU; where time is sharded,
    flattening would gather it.
    """
    if size("context") > 1:
        return _multiply(x_BTI, kernel_IO, out_dtype, quantize)
    flat = _multiply(x_BTI.reshape(-1, x_BTI.shape[-1]), kernel_IO, out_dtype, quantize)
    return flat.reshape(*x_BTI.shape[:-1], kernel_IO.shape[-1])


def _multiply(x: jax.Array, kernel_IO: jax.Array, out_dtype: str | None, quantize: str) -> jax.Array:
    if quantize == "none":
        return jnp.dot(x, kernel_IO, preferred_element_type=out_dtype)
    return quantized.product(x, kernel_IO, quantize).astype(out_dtype or x.dtype)


class Linear(nn.Module):
    """A linear map whose module name is its role; contracts the role's `n_in` leading dimensions."""

    cfg: ModelConfig
    shape: tuple[int, ...]
    bias: bool = False
    out_dtype: str | None = None  # the compute dtype if left out

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., *inputs]` to `[..., *outputs]`."""
        role = f"{self.name}.kernel"
        kernel = self.param("kernel", lambda key: initialise(role, self.shape, self.cfg, key))
        inputs, outputs = self.shape[: ROLES[role].n_in], self.shape[ROLES[role].n_in :]
        batch = x.shape[: x.ndim - len(inputs)]
        kernel_IO = kernel.astype(self.cfg.dtype).reshape(math.prod(inputs), -1)
        quantize = self.cfg.quantize if ROLES[role].group == "matrix" else "none"
        y = product(x.reshape(*batch, math.prod(inputs)), kernel_IO, self.out_dtype, quantize)
        y = y.reshape(*batch, *outputs)
        if self.bias:
            y += self.param("bias", lambda key: initialise(f"{self.name}.bias", outputs, self.cfg, key)).astype(y.dtype)
        return y
