"""Rotary embedding: relative, norm-preserving, and equal to complex multiplication."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lm.model.config import Rope
from lm.model.rope import frequencies, rotate


def test_equals_complex_rotation() -> None:
    x_BTHN = jax.random.normal(jax.random.key(0), (2, 5, 3, 8))
    positions_BT = jnp.asarray([[0, 1, 2, 3, 4], [7, 8, 0, 1, 2]])
    z = np.asarray(x_BTHN[..., :4]) + 1j * np.asarray(x_BTHN[..., 4:])
    angle = np.asarray(positions_BT)[..., None, None] * 100.0 ** (-np.arange(4) / 4)
    turned = z * np.exp(1j * angle)
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(rotate(x_BTHN, positions_BT, frequencies(Rope(), 8, 100.0, 1.0)), expected, atol=1e-5)


def test_scores_depend_on_distance_alone() -> None:
    q, k = jax.random.normal(jax.random.key(1), (2, 1, 1, 1, 16))

    def score(query_at: int, key_at: int) -> float:
        turned = (
            rotate(x, jnp.asarray([[at]]), frequencies(Rope(), 16, 10_000.0, 1.0))
            for x, at in ((q, query_at), (k, key_at))
        )
        return float(jnp.sum(next(turned) * next(turned)))

    np.testing.assert_allclose(score(9, 4), score(105, 100), rtol=1e-4)
    assert abs(score(9, 4) - score(9, 5)) > 1e-3
