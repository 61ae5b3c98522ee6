"""Multi-token prediction: what a depth reads and what it is to foretell, and that nothing else depends on it."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model import ahead
from lm.model.attention import Places
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.train.loss import ahead_nats
from lm.train.step import loss_sums

from .architectures import parameters

CFG = ModelConfig(41, 2, 2, 2, 16, 24, 8, 16, position_embedding="learned", predict_ahead=2)
T = 9
CUT = 4


@pytest.fixture(scope="module")
def params() -> dict:
    return parameters(CFG)


def rows() -> dict[str, jax.Array]:
    """One row of two documents, the first `CUT` long, and whether the next token is of the same one."""
    tokens_T = np.random.default_rng(0).permutation(CFG.vocab_size)[: T + 1]
    segments_T = np.where(np.arange(T) < CUT, 1, 2)
    last_T = np.isin(np.arange(T), (CUT - 1, T - 1))
    columns = {
        "tokens": tokens_T[:-1],
        "targets": tokens_T[1:],
        "segments": segments_T,
        "positions": np.where(np.arange(T) < CUT, np.arange(T), np.arange(T) - CUT),
        "loss_mask": np.float32(~last_T),
    }
    return {name: jnp.asarray(column)[None] for name, column in columns.items()}


@jax.jit
def foretold(params: dict, batch: dict[str, jax.Array]) -> list[jax.Array]:
    decoder = partial(Decoder(CFG).apply, {"params": params})
    hidden = decoder(batch["tokens"], batch["segments"], batch["positions"], method="hidden")
    places = Places(batch["segments"], batch["positions"])
    return decoder(hidden.h_BTD, batch["tokens"], places, method="foretell")


def test_a_depth_reads_so_many_tokens_further(params: dict) -> None:
    """Depth k at a place depends on the k-th token after it, and on none beyond."""
    batch = rows()
    before = foretold(params, batch)
    at = CUT + 4
    after = foretold(params, batch | {"tokens": batch["tokens"].at[0, at].set(40)})
    for depth, (old, new) in enumerate(zip(before, after, strict=True), 1):
        changed_T = np.any(np.asarray(old != new)[0], axis=-1)
        wanted_T = np.arange(T) >= at - depth
        np.testing.assert_array_equal(changed_T[: T - depth], wanted_T[: T - depth])


def test_targets_are_the_tokens_after_the_next_of_the_same_document() -> None:
    """Guesses that are certain of those tokens cost nothing; of any other, a lot, and as many as there are count."""
    batch = rows()
    tokens_T = np.concatenate([batch["tokens"][0], batch["targets"][0, -1:]])

    def certain(depth: int, off: int) -> jax.Array:
        right = np.array([tokens_T[min(i + depth + 1 + off, T)] for i in range(T)])
        return 30.0 * jax.nn.one_hot(right, CFG.vocab_size)[None]

    depths = [certain(depth, 0) for depth in (1, 2)]
    np.testing.assert_allclose(ahead_nats(lambda h: h, depths, batch), 0, atol=1e-5)
    counted = sum(length - 1 - depth for length in (CUT, T - CUT) for depth in (1, 2))
    wrong = [certain(depth, -1) for depth in (1, 2)]
    np.testing.assert_allclose(ahead_nats(lambda h: h, wrong, batch), 30.0 * counted / 2, rtol=1e-4)


def test_no_document_is_foretold_from_another(params: dict) -> None:
    """Packed documents cost what each costs in a row of its own."""
    batch = rows()
    sums = jax.jit(partial(loss_sums, CFG, dropout_key=None))
    whole = sums(params, batch).ahead
    alone = [
        sums(params, {name: a[:, part] for name, a in batch.items()}).ahead for part in (slice(CUT), slice(CUT, T))
    ]
    np.testing.assert_allclose(whole, sum(alone), rtol=1e-5)
    pieces = jax.jit(partial(loss_sums, CFG, dropout_key=None, loss_chunk=4))(params, batch).ahead
    np.testing.assert_allclose(whole, pieces, rtol=1e-5)


def test_next_tokens_do_not_depend_on_it(params: dict) -> None:
    cfg, fewer = ahead.left_out(CFG, params)
    assert cfg.predict_ahead == 0
    assert params.keys() - fewer.keys() == {"ahead_0", "ahead_1"}
    logits = [Decoder(c).apply({"params": p}, rows()["tokens"]).logits_BTV for c, p in ((CFG, params), (cfg, fewer))]
    np.testing.assert_array_equal(*logits)
