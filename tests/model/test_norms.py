"""Norms against their definitions, in float64."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lm.model.config import ModelConfig
from lm.model.norms import Norm

CFG = ModelConfig(8, 1, 2, 2, 6, 8, 4, 8, norm_epsilon=0.1)
X = 3 * np.random.default_rng(0).normal(size=(2, 3, 6)) + 1
SCALE, BIAS, ALPHA = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6), 0.7


def root_mean_square(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + CFG.norm_epsilon)


EXPECTED = {
    "rms": SCALE * root_mean_square(X),
    "layer": SCALE * root_mean_square(X - X.mean(axis=-1, keepdims=True)) + BIAS,
    "tanh": SCALE * np.tanh(ALPHA * X) + BIAS,
}


def normed(cfg: ModelConfig, params: dict[str, np.ndarray], x: np.ndarray = X, **options: object) -> np.ndarray:
    params = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    return Norm(cfg, **options).apply({"params": params}, jnp.asarray(x, jnp.float32))


@pytest.mark.parametrize("kind", ["rms", "layer", "tanh"])
@pytest.mark.parametrize("one_plus", [False, True])
def test_definitions(kind: str, one_plus: bool) -> None:
    """With what is stored the scale, or what is added to 1 for it."""
    bias = kind != "rms"
    epsilon = {"norm_epsilon": 1e-6} if kind == "tanh" else {}
    cfg = dataclasses.replace(
        CFG, **epsilon, norm=kind, norm_bias=bias, norm_scale="one_plus" if one_plus else "weight"
    )
    params = {
        "scale": SCALE - one_plus,
        **({"bias": BIAS} if bias else {}),
        **({"alpha": ALPHA} if kind == "tanh" else {}),
    }
    np.testing.assert_allclose(normed(cfg, params), EXPECTED[kind], rtol=1e-5, atol=1e-5)


def test_without_a_scale_there_is_no_parameter() -> None:
    cfg = dataclasses.replace(CFG, norm_scale="none")
    np.testing.assert_allclose(normed(cfg, {}), root_mean_square(X), rtol=1e-5)


def test_none_changes_nothing() -> None:
    np.testing.assert_array_equal(normed(dataclasses.replace(CFG, norm="none", norm_epsilon=1e-6), {}), np.float32(X))


def test_two_axes_are_one_vector() -> None:
    """All heads at once: the mean is over both dimensions, the scale has one number for each place."""
    heads = X.reshape(2, 3, 2, 3)
    out = normed(CFG, {"scale": SCALE.reshape(2, 3)}, heads, kind="rms", axes=2)
    np.testing.assert_allclose(out, EXPECTED["rms"].reshape(heads.shape), rtol=1e-5)


def test_an_epsilon_of_its_own() -> None:
    expected = SCALE * X / np.sqrt((X * X).mean(axis=-1, keepdims=True))
    np.testing.assert_allclose(normed(CFG, {"scale": SCALE}, epsilon=1e-12), expected, rtol=1e-5)


def test_statistics_are_float32_and_the_result_is_of_the_compute_dtype() -> None:
    """A mean of numbers near 256, which bfloat16 tells apart in steps of 2, and their distance from it."""
    cfg = dataclasses.replace(CFG, dtype="bfloat16", norm="layer")
    x = np.array([256.0, 258, 258, 262, 256, 264])
    out = Norm(cfg).apply({"params": {"scale": jnp.ones(6)}}, jnp.asarray(x, jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(out), root_mean_square(x - x.mean()), rtol=0.01)
