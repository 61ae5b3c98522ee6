"""Products of rows with one of several matrices each: rows sorted into tiles, a tile being of one matrix.

Dims: N inputs, R rows, E matrices, G tiles, S rows of a tile, I inputs, O outputs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lm.model import quantized
from lm.model.quantized import Operand

SMALLEST_TILE, LARGEST_TILE = 8, 128


class Tiles(NamedTuple):
    """Where rows go: `place_R` is a row's place among the G·S of all tiles, G·S for a row that is left out.

    `matrix_G` is the matrix of each tile; the first `used` tiles hold rows, those after them none.
    """

    place_R: jax.Array
    matrix_G: jax.Array
    used: jax.Array
    size: int

    def lay_out(self, x_NI: jax.Array) -> jax.Array:
        """Returns rows in tiles, see `lay_out`."""
        return lay_out(x_NI, self.place_R, len(self.matrix_G), self.size)

    def collect(self, y_GSO: jax.Array) -> jax.Array:
        """Returns each row's `[R, O]`, see `collect`."""
        return collect(y_GSO, self.place_R)


def lay_out(x_NI: jax.Array, place_R: jax.Array, tiles: int, size: int) -> jax.Array:
    """Returns rows in tiles `[G, S, I]`, zeros where there is none; row r is a copy of `x_NI[r // (R / N)]`."""
    (rows,), n = place_R.shape, len(x_NI)
    source = jnp.full(tiles * size, n).at[place_R].set(jnp.arange(rows) // (rows // n), mode="drop")
    return x_NI.at[source].get(mode="fill", fill_value=0).reshape(tiles, size, -1)


def collect(y_GSO: jax.Array, place_R: jax.Array) -> jax.Array:
    """Returns each row's `[R, O]` from its tile, zeros for rows that are left out."""
    return y_GSO.reshape(-1, y_GSO.shape[-1]).at[place_R].get(mode="fill", fill_value=0)


def ranks(matrix_R: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Returns how many rows of the same matrix come before each row, and how many rows each of the `n` matrices has."""
    order_R = jnp.argsort(matrix_R, stable=True)
    counts_E = jnp.bincount(matrix_R, length=n + 1)
    first_E = jnp.cumsum(counts_E) - counts_E
    sorted_R = jnp.zeros_like(order_R).at[order_R].set(jnp.arange(len(order_R)))
    return sorted_R - first_E[matrix_R], counts_E[:n]


def tiles(matrix_R: jax.Array, n: int) -> Tiles:
    """Gives every row a place in a tile of its matrix; rows of matrix `n` are left out.

    A tile has about as many rows as a matrix gets on average, a power of two.
    """
    (rows,) = matrix_R.shape
    size = min(max(1 << max(rows // n - 1, 0).bit_length(), SMALLEST_TILE), LARGEST_TILE)
    count = min(rows, rows // size + n)
    rank_R, counts_E = ranks(matrix_R, n)
    tiles_E = -(-counts_E // size)
    end_E = jnp.cumsum(tiles_E)
    matrix_G = jnp.minimum(jnp.searchsorted(end_E, jnp.arange(count), side="right"), n - 1)
    first_R = jnp.append((end_E - tiles_E) * size, count * size)[matrix_R]
    place_R = jnp.where(matrix_R < n, first_R + rank_R, count * size)
    return Tiles(place_R, matrix_G, end_E[-1], size)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def product(
    x_GSI: jax.Array, kernels_EIO: jax.Array, matrix_G: jax.Array, used: jax.Array, quantize: str = "none"
) -> jax.Array:
    """Multiplies each of the `used` first tiles with its matrix: `[G, S, O]`, zeros in the tiles after them.

    A loop over tiles: XLA turns `ragged_dot` into a dense product with every matrix where it has no kernel for it.
    """
    return _forward(x_GSI, kernels_EIO, matrix_G, used, quantize)[0]


def _multiply(x_GSI: Operand, kernels_EIO: Operand, matrix_G: jax.Array, used: jax.Array, dtype: Any) -> jax.Array:
    def body(g: jax.Array, y_GSO: jax.Array) -> jax.Array:
        y_SO = quantized.multiply(_at(x_GSI, g), _at(kernels_EIO, matrix_G[g]), dtype)
        return jax.lax.dynamic_update_index_in_dim(y_GSO, y_SO, g, 0)

    return jax.lax.fori_loop(0, used, body, jnp.zeros((*x_GSI.shape[:-1], kernels_EIO.shape[-1]), dtype))


def _at(operand: Operand, index: jax.Array) -> Operand:
    return jax.tree.map(lambda a: a[index], operand)


def _forward(
    x_GSI: jax.Array, kernels_EIO: jax.Array, matrix_G: jax.Array, used: jax.Array, quantize: str
) -> tuple[jax.Array, Any]:
    x: Operand = x_GSI
    kernels: Operand = kernels_EIO
    if quantize != "none":
        dtype = quantized.FORMATS[quantize].forward
        x, kernels = quantized.rounded(x_GSI, dtype, over=(-1,)), quantized.rounded(kernels_EIO, dtype, over=(-2,))
    return _multiply(x, kernels, matrix_G, used, x_GSI.dtype), (x, kernels, matrix_G, used)


def _backward(quantize: str, kept: Any, dy_GSO: jax.Array) -> tuple[jax.Array, jax.Array, None, None]:
    x, kernels, matrix_G, used = kept
    towards_x: Operand = dy_GSO
    towards_kernels: Operand = dy_GSO
    if quantize != "none":
        towards_x = quantized.gradient(dy_GSO, kernels.scale[matrix_G], quantize, over=(-1,))
        towards_kernels = quantized.gradient(dy_GSO, x.scale, quantize, over=(-2,))
        x, kernels = x.qvalue, kernels.qvalue

    def body(g: jax.Array, sum_EIO: jax.Array) -> jax.Array:
        own_IO = quantized.multiply(x[g].T, _at(towards_kernels, g), jnp.float32)
        return sum_EIO.at[matrix_G[g]].add(own_IO)

    dkernels_EIO = jax.lax.fori_loop(0, used, body, jnp.zeros(kernels.shape, jnp.float32))
    dx_GSI = _multiply(towards_x, kernels.swapaxes(-1, -2), matrix_G, used, dy_GSO.dtype)
    return dx_GSI, dkernels_EIO.astype(dy_GSO.dtype), None, None


product.defvjp(_forward, _backward)
