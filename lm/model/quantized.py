"""Matrix products in eight bits, through Qwix: in training, forwards and backwards.

Each row of the one operand and each column of the other has a scale of its own, by which its largest number fills the
eight bits. What is kept for the backward pass is in eight bits too, and gradients are rounded before they are
multiplied. Parameters, and what is added to them, stay as they are. In fp8, weights and activations have three bits for
their digits, and gradients, which need range, two (Micikevicius et al., 2022).

Dims: R rows, I inputs, O outputs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

Operand: TypeAlias = Any  # an array, or Qwix's array of eight bits with its scales


class Format(NamedTuple):
    """The types that numbers are rounded to: weights and activations, and gradients."""

    forward: str
    backward: str


FORMATS = {"int8": Format("int8", "int8"), "fp8": Format("float8_e4m3fn", "float8_e5m2")}
# The largest number becomes 127, where Qwix would have it at 127.5: between two, so that its last digit would decide.
CALIBRATION = {"int8": f"absmax,{127.5 / 127}"}


def rounded(a: jax.Array, dtype: str, over: tuple[int, ...]) -> Operand:
    """Rounds to `dtype`, by one scale for all that stands along the axes `over`."""
    import qwix

    own = [axis for axis in range(a.ndim) if axis not in {axis % a.ndim for axis in over}]
    method = CALIBRATION.get(dtype, "absmax")
    return qwix.quantize(a, jnp.dtype(dtype), channelwise_axes=own, calibration_method=method)


def multiply(a: Operand, b: Operand, dtype: Any, axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None) -> Any:
    """Contracts `axes`, or the last of `a` with the first of `b`, in the arithmetic of what they are stored in."""
    dims = ((a.ndim - 1,), (0,)) if axes is None else axes
    if isinstance(a, jax.Array) and isinstance(b, jax.Array) and a.dtype.itemsize > 1:
        return jax.lax.dot_general(a, b, (dims, ((), ())), preferred_element_type=dtype)
    import qwix

    return qwix.dot_general(a, b, (dims, ((), ())), preferred_element_type=dtype)


def gradient(dy: jax.Array, scale: jax.Array, kind: str, over: tuple[int, ...]) -> Operand:
    """Rounds a gradient that is to be contracted `over` those axes, the scales of the other operand taken into it."""
    return rounded(dy * scale, FORMATS[kind].backward, over)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x: jax.Array, kernel_IO: jax.Array, kind: str) -> jax.Array:
    """Multiplies `[..., I]` into `[..., O]`; `kind` is one of `FORMATS`."""
    return _forward(x, kernel_IO, kind)[0]


def _forward(x: jax.Array, kernel_IO: jax.Array, kind: str) -> tuple[jax.Array, tuple[Operand, Operand]]:
    forward = FORMATS[kind].forward
    x8, kernel8 = rounded(x, forward, over=(-1,)), rounded(kernel_IO, forward, over=(0,))
    return multiply(x8, kernel8, x.dtype), (x8, kernel8)


def _backward(kind: str, kept: tuple[Operand, Operand], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x8, kernel8 = kept
    rows = tuple(range(dy.ndim - 1))
    dx = multiply(gradient(dy, kernel8.scale[0], kind, over=(-1,)), kernel8.qvalue.T, dy.dtype)
    dkernel_IO = multiply(x8.qvalue, gradient(dy, x8.scale, kind, over=rows), dy.dtype, (rows, rows))
    return dx, dkernel_IO


product.defvjp(_forward, _backward)
