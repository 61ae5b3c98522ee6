"""128 thin layers train where norms stand before the branches, and do not where they stand behind the sum."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.model import decoder
from lm.model.config import ModelConfig
from lm.train.defaults import pretrain
from lm.train.loss import token_nats
from lm.train.optimizer import Optimizer

LAYERS, VOCABULARY, STEPS = 128, 16, 60


def losses(placement: Any) -> np.ndarray:
    """Returns the loss of each step; every token is followed by the next one of the vocabulary."""
    pre = placement == "pre"
    model = ModelConfig(
        vocab_size=VOCABULARY, n_layers=LAYERS, n_heads=2, n_kv_heads=2, d_model=16, d_ff=32, head_width=8,
        max_seq_len=16, mlp="relu", norm="layer", norm_bias=True, norm_placement=placement, final_norm=pre,
    )  # fmt: skip
    cfg = pretrain().optimizer
    cfg.peak_lr, cfg.weight_decay = 0.01, 0.0
    optimizer = Optimizer.from_config(cfg, lambda _: jnp.float32(1.0))

    def loss(params: Any, key: jax.Array) -> jax.Array:
        first_B1 = jax.random.randint(key, (16, 1), 0, VOCABULARY)
        tokens_BT = (first_B1 + jnp.arange(17)) % VOCABULARY
        logits_BTV = decoder.Decoder(model).apply({"params": params}, tokens_BT[:, :-1]).logits_BTV
        return jnp.mean(token_nats(logits_BTV, tokens_BT[:, 1:])[0])

    def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, key)
        return optimizer.update(grads, state, params), value

    @jax.jit
    def run(keys: jax.Array) -> jax.Array:
        params = decoder.init(model, jax.random.key(0))
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)[1]

    return np.asarray(run(jax.random.split(jax.random.key(1), STEPS)))


@pytest.mark.parametrize(("placement", "learns"), [("pre", True), ("post", False)])
def test_at_one_learning_rate(placement: str, learns: bool) -> None:
    found = losses(placement)
    chance = math.log(VOCABULARY)
    assert np.all(np.isfinite(found))
    if learns:
        assert found[-10:].mean() < 0.75 * chance
    else:
        assert found[-10:].mean() > 0.95 * chance
