"""Rotary embedding: relative, norm-preserving, equal to complex multiplication, and stretched as published."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model.config import Rope
from lm.model.rope import frequencies, magnitude, rotate


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


def test_what_is_not_rotated_passes() -> None:
    x_BTHN = jax.random.normal(jax.random.key(2), (1, 3, 2, 8))
    out_BTHN = rotate(x_BTHN, jnp.arange(3)[None], frequencies(Rope(fraction=0.5), 4, 100.0, 1.0))
    np.testing.assert_array_equal(out_BTHN[..., 4:], x_BTHN[..., 4:])
    np.testing.assert_allclose(jnp.linalg.norm(out_BTHN, axis=-1), jnp.linalg.norm(x_BTHN, axis=-1), rtol=1e-5)
    assert np.all(np.any(out_BTHN[:, 1:, :, :4] != x_BTHN[:, 1:, :, :4], axis=-1))


WIDTH, THETA, FACTOR = 32, 10_000.0, 4.0
PLAIN_R = THETA ** (-np.arange(0, WIDTH, 2) / WIDTH)


def stretched(**keys: object) -> np.ndarray:
    return frequencies(Rope(**keys), WIDTH, THETA, FACTOR)


def test_linear_divides_positions() -> None:
    np.testing.assert_allclose(stretched(scaling="linear"), PLAIN_R / FACTOR, rtol=1e-6)


def test_ntk_divides_the_slowest_pair_and_leaves_the_fastest() -> None:
    ratio_R = PLAIN_R / stretched(scaling="ntk")
    np.testing.assert_allclose([ratio_R[0], ratio_R[-1]], [1.0, FACTOR], rtol=1e-6)
    np.testing.assert_allclose(ratio_R, FACTOR ** (np.arange(WIDTH // 2) / (WIDTH // 2 - 1)), rtol=1e-6)


def test_llama3_divides_long_waves_and_leaves_short_ones() -> None:
    """The limits are wavelengths, as shares of the original context; between them the two are blended."""
    original_len = 1024
    found_R = stretched(
        scaling="llama3", original_len=original_len, low_frequency_factor=2.0, high_frequency_factor=8.0
    )
    wavelength_R = 2 * np.pi / PLAIN_R
    short_R, long_R = wavelength_R < original_len / 8, wavelength_R > original_len / 2
    assert 0 < short_R.sum() < (short_R | long_R).sum() < WIDTH // 2
    expected_R = np.where(long_R, PLAIN_R / FACTOR, PLAIN_R)
    blended_R = ~(short_R | long_R)
    share_R = (original_len / wavelength_R - 2) / (8 - 2)
    expected_R[blended_R] = (share_R * PLAIN_R + (1 - share_R) * PLAIN_R / FACTOR)[blended_R]
    np.testing.assert_allclose(found_R, expected_R, rtol=1e-6)


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_leaves_pairs_of_many_turns_and_divides_those_of_few(truncate: bool) -> None:
    """Between `beta_fast` and `beta_slow` turns within the original context it ramps, in the number of the pair."""
    original_len, fast, slow = 4096, 16.0, 2.0
    found_R = stretched(scaling="yarn", original_len=original_len, beta_fast=fast, beta_slow=slow, truncate=truncate)
    # the pair (not whole) whose wavelength goes so often into the context
    first, last = (WIDTH / 2 * math.log(original_len / (2 * math.pi * turns), THETA) for turns in (fast, slow))
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    ramp_R = np.array([min(max((pair - first) / (last - first), 0.0), 1.0) for pair in range(WIDTH // 2)])
    assert 0 < np.sum((ramp_R > 0) & (ramp_R < 1)) < WIDTH // 2
    np.testing.assert_allclose(found_R, PLAIN_R * (1 - ramp_R) + PLAIN_R / FACTOR * ramp_R, rtol=1e-6)


def test_magnitude() -> None:
    """YaRN's grows with the factor, or is what the config says; others leave scores alone."""
    np.testing.assert_allclose(magnitude(Rope(scaling="yarn"), 4.0), 0.1 * math.log(4) + 1)
    assert magnitude(Rope(scaling="yarn"), 1.0) == 1.0
    assert magnitude(Rope(scaling="yarn", attention_factor=1.5), 4.0) == 1.5
    assert magnitude(Rope(scaling="linear"), 4.0) == 1.0
