"""What mixers that carry a state share: where a document begins, what padding does, and the linear recurrence.

Dims: B batch, T time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lm.model.attention import Places


def real(places: Places) -> jax.Array:
    """Says which tokens are of a document, `[B, T]`; the others are padding, which no state takes note of."""
    return places.segments_BT > 0


def begins(places: Places) -> jax.Array:
    """Says which tokens are the first of a document, `[B, T]`: whatever state there is ends before them."""
    return real(places) & (places.positions_BT == 0)


def beside(flags_BT: jax.Array, x: jax.Array) -> jax.Array:
    """Shapes `[B, T]` so that it goes with `[B, T, ...]`."""
    return flags_BT.reshape(*flags_BT.shape, *(1,) * (x.ndim - 2))


def accumulate(decay: jax.Array, write: jax.Array, state: jax.Array, places: Places) -> jax.Array:
    """Returns every state of h_t = decay_t · h_(t-1) + write_t, `[B, T, ...]` as `decay` and `write`, elementwise.

    `state`, `[B, ...]`, is the one before the first token.
    """
    decay = jnp.where(beside(real(places), decay), decay, 1.0)
    decay = jnp.where(beside(begins(places), decay), 0.0, decay)
    return _scan(decay, jnp.where(beside(real(places), write), write, 0.0), state)


@jax.custom_vjp
def _scan(decay: jax.Array, write: jax.Array, state: jax.Array) -> jax.Array:
    return _fold(decay, write.at[:, 0].add(decay[:, 0] * state))


def _fold(decay: jax.Array, write: jax.Array, *, reverse: bool = False) -> jax.Array:
    """Runs the recurrence from zero over pairs in log T rounds (Blelloch, 1990), backwards in time if `reverse`."""

    def join(earlier: tuple[jax.Array, jax.Array], later: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(join, (decay, write), axis=1, reverse=reverse)[1]


def _forward(decay: jax.Array, write: jax.Array, state: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    h = _scan(decay, write, state)
    return h, (decay, state, h)


def _backward(kept: tuple[jax.Array, ...], slope: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The slope of h_t is the output's own and a_(t+1) times that of h_(t+1): the recurrence, the other way."""
    decay, state, h = kept
    following = jnp.concatenate([decay[:, 1:], jnp.zeros_like(decay[:, :1])], axis=1)
    slope = _fold(following, slope, reverse=True)
    before = jnp.concatenate([state[:, None], h[:, :-1]], axis=1)
    return slope * before, slope, decay[:, 0] * slope[:, 0]


_scan.defvjp(_forward, _backward)
