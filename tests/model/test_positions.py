"""Positions added to the embedding, and ALiBi's slopes, against their definitions."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from lm.model.attention.scoring import alibi_slopes
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder, Embedding
from lm.model.positions import sinusoids

from .architectures import parameters

CFG = ModelConfig(11, 2, 2, 2, 6, 8, 4, 8, position="none")


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids(width: int) -> None:
    """Sines in even places, cosines in odd ones, of wavelengths from 2 pi to 10,000 times that."""
    positions = np.array([[0, 1, 5], [2, 900, 0]])
    expected = np.zeros((2, 3, width))
    for place in np.ndindex(expected.shape):
        turn = positions[place[:2]] / 10_000 ** (2 * (place[2] // 2) / width)
        expected[place] = math.cos(turn) if place[2] % 2 else math.sin(turn)
    np.testing.assert_allclose(sinusoids(jnp.asarray(positions), width), expected, atol=1e-4)


def test_learned_positions_follow_the_document_not_the_row() -> None:
    cfg = dataclasses.replace(CFG, position_embedding="learned", embedding_scale=2.0)
    rng = np.random.default_rng(0)
    params = {"table": rng.normal(size=(11, 6)), "positions": rng.normal(size=(8, 6))}
    tokens, positions = np.array([[3, 4, 3, 4]]), np.array([[0, 1, 0, 1]])
    out = Embedding(cfg).apply({"params": params}, tokens, positions)
    np.testing.assert_allclose(out, 2 * params["table"][tokens] + params["positions"][positions], rtol=1e-6)


@pytest.mark.parametrize("position", ["none", "alibi", "rope"])
def test_only_without_positions_the_order_of_what_was_read_does_not_matter(position: str) -> None:
    """One layer of attention without a position code sees a set."""
    cfg = dataclasses.replace(CFG, n_layers=1, position=position)
    params = parameters(cfg)
    one, other = (
        Decoder(cfg).apply({"params": params}, jnp.asarray([order])).logits_BTV[0, -1]
        for order in ([1, 2, 3, 4, 5], [3, 1, 4, 2, 5])
    )
    assert np.allclose(one, other, atol=1e-5) == (position == "none")


def test_alibi_slopes() -> None:
    """A geometric sequence for powers of two; other numbers take every second of twice as many for the rest."""
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    np.testing.assert_allclose(alibi_slopes(3), [2.0**-4, 2.0**-8, 2.0**-2])
