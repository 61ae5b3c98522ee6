"""The loss in closed form."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from lm.train.loss import next_token_loss


def test_uniform_logits_cost_log_v() -> None:
    """Every target costs ln V, and the log-normaliser is ln V; masked targets count for nothing."""
    mask_BT = jnp.asarray([[1.0, 0.0, 1.0]])
    loss = next_token_loss(jnp.zeros((1, 3, 10)), jnp.asarray([[1, 2, 3]]), mask_BT)
    np.testing.assert_allclose(loss.nats, 2 * np.log(10), rtol=1e-6)
    np.testing.assert_allclose(loss.z, 2 * np.log(10) ** 2, rtol=1e-6)
    assert loss.tokens == 2


def test_known_probabilities() -> None:
    """Logits that are log-probabilities cost minus the target's, and have a zero z-term."""
    p_V = np.array([0.5, 0.25, 0.25])
    loss = next_token_loss(jnp.log(jnp.asarray([[p_V, p_V]])), jnp.asarray([[0, 2]]), jnp.ones((1, 2)))
    np.testing.assert_allclose(loss.nats, np.log(2) + np.log(4), rtol=1e-6)
    np.testing.assert_allclose(loss.z, 0, atol=1e-10)
