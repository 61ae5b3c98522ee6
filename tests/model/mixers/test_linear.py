"""The gated linear recurrence against one written down token by token, and how it starts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from lm.model.roles import initialise
from tests.model.mixers.oracles import compare, config, convolve, linear, sigmoid


def griffin(params: Any, x_TD: np.ndarray) -> np.ndarray:
    """The block of De et al. (2024) on one document."""
    gate_TC = linear(params["recurrent_gate"], x_TD)
    gate_TC = 0.5 * gate_TC * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate_TC + 0.044715 * gate_TC**3)))
    u_TC = convolve(params["conv"], linear(params["recurrent_in"], x_TD))
    h_C, h_TC = np.zeros(u_TC.shape[1]), []
    for t, u_C in enumerate(u_TC):
        admit_C, shorten_C = (sigmoid(by_block(params[name], u_C)) for name in ("input_gate", "decay_gate"))
        a_C = np.exp(-8 * shorten_C * np.log1p(np.exp(params["forget"])))
        h_C = a_C * h_C + (1.0 if t == 0 else np.sqrt(1 - a_C**2)) * admit_C * u_C
        h_TC.append(h_C)
    return linear(params["recurrent_out"], gate_TC * np.array(h_TC))


def by_block(params: Any, u_C: np.ndarray) -> np.ndarray:
    blocks, size, _ = params["kernel"].shape
    parts = [u_C[k * size : (k + 1) * size] @ params["kernel"][k] + params["bias"][k] for k in range(blocks)]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    "sizes", [{}, {"width": 8, "blocks": 4, "bias": True, "conv_width": 2}, {"conv_width": 1, "blocks": 1}]
)
def test_it_is_the_recurrence_token_by_token(sizes: dict[str, Any]) -> None:
    compare(config("linear", **sizes), (-2, 7, 1, -1, 5, -3), griffin)


def test_states_start_slow() -> None:
    """With its gate wide open, a state keeps 0.9 to 0.999 of itself a token, uniformly."""
    forget = np.asarray(initialise("mixer.forget", (10_000,), config("linear"), jax.random.key(0)), np.float64)
    kept = np.exp(-8 * np.log1p(np.exp(forget)))
    assert 0.9 - 1e-4 < kept.min() < 0.901
    assert 0.998 < kept.max() < 0.999 + 1e-4
    np.testing.assert_allclose(np.quantile(kept, [0.25, 0.5, 0.75]), [0.92475, 0.9495, 0.97425], atol=3e-3)
