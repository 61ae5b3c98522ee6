"""The loss in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model import decoder
from lm.model.config import ModelConfig
from lm.train.loss import masked_loss, token_nats
from lm.train.step import loss_sums


def test_uniform_logits_cost_log_v() -> None:
    """Every target costs ln V, and the log-normaliser is ln V; masked targets count for nothing."""
    mask_BT = jnp.asarray([[1.0, 0.0, 1.0]])
    loss = masked_loss(*token_nats(jnp.zeros((1, 3, 10)), jnp.asarray([[1, 2, 3]])), mask_BT)
    np.testing.assert_allclose(loss.nats, 2 * np.log(10), rtol=1e-6)
    np.testing.assert_allclose(loss.z, 2 * np.log(10) ** 2, rtol=1e-6)
    assert loss.tokens == 2


def test_known_probabilities() -> None:
    """Logits that are log-probabilities cost minus the target's, and have a zero z-term."""
    p_V = np.array([0.5, 0.25, 0.25])
    loss = masked_loss(*token_nats(jnp.log(jnp.asarray([[p_V, p_V]])), jnp.asarray([[0, 2]])), jnp.ones((1, 2)))
    np.testing.assert_allclose(loss.nats, np.log(2) + np.log(4), rtol=1e-6)
    np.testing.assert_allclose(loss.z, 0, atol=1e-10)


CFG = ModelConfig(4096, 1, 2, 2, 16, 32, 8, 64, logit_softcap=5.0)


def objective(params: dict, batch: dict, chunk: int) -> jax.Array:
    sums = loss_sums(CFG, params, batch, None, chunk)
    return sums.nats + 0.01 * sums.z


@pytest.fixture(scope="module")
def setting() -> tuple[dict, dict]:
    rng = np.random.default_rng(0)
    shape = (4, CFG.max_seq_len)
    batch = {
        "tokens": rng.integers(0, CFG.vocab_size, shape),
        "targets": rng.integers(0, CFG.vocab_size, shape),
        "segments": np.ones(shape, np.int32),
        "positions": np.broadcast_to(np.arange(CFG.max_seq_len), shape),
        "loss_mask": (rng.random(shape) < 0.7).astype(np.float32),
    }
    return jax.tree.map(lambda a: 5 * a, decoder.init(CFG, jax.random.key(0))), batch


@pytest.mark.parametrize("chunk", [24, 100])
def test_pieces_of_the_loss_are_the_whole(setting: tuple[dict, dict], chunk: int) -> None:
    """In value and in gradient, whether or not the pieces fill the sequence."""
    params, batch = setting
    run = jax.jit(jax.value_and_grad(objective), static_argnums=2)
    (whole, whole_grad), (pieces, pieces_grad) = (run(params, batch, size) for size in (0, chunk))
    np.testing.assert_allclose(pieces, whole, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), pieces_grad, whole_grad)


def test_all_logits_are_never_in_memory(setting: tuple[dict, dict]) -> None:
    """What the compiled gradient keeps in memory falls below one copy of the logits."""
    logits = 4 * CFG.max_seq_len * CFG.vocab_size * 4  # bytes

    def kept(chunk: int) -> int:
        program = jax.jit(jax.grad(objective), static_argnums=2).lower(*setting, chunk).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert kept(0) > logits
    assert kept(4) < kept(0) - logits
    assert kept(4) < logits
