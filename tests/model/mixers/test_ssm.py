"""The selective state space against one written down number by number, and how it starts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from lm.model.mixers.ssm import CHUNK
from lm.model.roles import initialise
from tests.model.mixers.oracles import compare, config, convolve, linear, sigmoid


def mamba(params: Any, x_TD: np.ndarray) -> np.ndarray:
    """The block of Gu & Dao (2023) on one document."""
    z_TC = linear(params["recurrent_gate"], x_TD)
    u_TC = convolve(params["conv"], linear(params["recurrent_in"], x_TD))
    u_TC = u_TC * sigmoid(u_TC)
    (_, channels), (rank, _) = u_TC.shape, params["step"]["kernel"].shape
    size = params["a_log"].shape[1]
    h_CN, y_TC = np.zeros((channels, size)), np.zeros(u_TC.shape)
    for t, u_C in enumerate(u_TC):
        low_R, b_N, c_N = np.split(linear(params["select"], u_C), [rank, rank + size])
        step_C = np.log1p(np.exp(linear(params["step"], low_R)))
        for channel in range(channels):
            for n in range(size):
                decay = np.exp(-step_C[channel] * np.exp(params["a_log"][channel, n]))
                h_CN[channel, n] = decay * h_CN[channel, n] + step_C[channel] * b_N[n] * u_C[channel]
            y_TC[t, channel] = h_CN[channel] @ c_N + params["skip"][channel] * u_C[channel]
    return linear(params["recurrent_out"], y_TC * z_TC * sigmoid(z_TC))


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ({"state_width": 3}, (-2, 7, 1, -1, 5, -3)),
        ({"width": 5, "state_width": 1, "step_rank": 2, "bias": True, "conv_width": 2}, (9,)),
        ({"width": 4, "state_width": 2}, (CHUNK + 9, -3, CHUNK - 2)),
        ({"width": 4, "state_width": 2}, (CHUNK,)),
    ],
)
def test_it_is_the_recurrence_number_by_number(sizes: dict[str, Any], lengths: tuple[int, ...]) -> None:
    compare(config("ssm", **sizes), lengths, mamba)


def test_it_starts_as_published() -> None:
    """A is -1, -2, …; steps are log-uniform in 0.001 to 0.1."""
    cfg, key = config("ssm"), jax.random.key(0)
    np.testing.assert_allclose(np.exp(initialise("mixer.a_log", (3, 4), cfg, key)), [[1, 2, 3, 4]] * 3, rtol=1e-6)
    step = np.log1p(np.exp(np.asarray(initialise("step.bias", (10_000,), cfg, key), np.float64)))
    assert 0.001 - 1e-6 < step.min() < 0.00101
    assert 0.099 < step.max() < 0.1 + 1e-6
    np.testing.assert_allclose(np.median(step), 0.01, rtol=0.05)
    assert np.abs(initialise("step.kernel", (4, 1000), cfg, key)).max() <= 0.5
