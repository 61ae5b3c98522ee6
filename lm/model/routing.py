"""Which experts a token goes to, and with what weight.

Dims: B batch, T time, D width, E experts, G groups of experts, K experts of a token.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig, Moe
from lm.model.context import Aux
from lm.model.roles import initialise

TINY = 1e-20  # keeps a division by scores that are all 0 finite


class Routing(NamedTuple):
    """The experts of each token, best first, E for padding, with float32 weights; and what the layer reports."""

    chosen_BTK: jax.Array
    weights_BTK: jax.Array
    aux: Aux


class Router(nn.Module):
    """Scores every expert for every token in float32, and takes the best."""

    cfg: ModelConfig
    n_experts: int

    @nn.compact
    def __call__(self, x_BTD: jax.Array, segments_BT: jax.Array) -> Routing:
        """Routes `[B, T, D]`; padding (segment 0) goes nowhere and counts for nothing."""
        moe = self.cfg.moe
        kernel_DE = self._parameter("kernel", (self.cfg.d_model, self.n_experts))
        logits_BTE = jnp.matmul(x_BTD.astype(jnp.float32), kernel_DE, precision=jax.lax.Precision.HIGHEST)
        if moe.router_bias:
            logits_BTE += self._parameter("bias", (self.n_experts,))
        scores_BTE = nn.softmax(logits_BTE) if moe.score == "softmax" else nn.sigmoid(logits_BTE)
        ranks_BTE = scores_BTE
        if moe.balance == "bias":  # it decides who is chosen, not with what weight (Wang et al., 2024)
            ranks_BTE += self._parameter("balance", (self.n_experts,))
        chosen_BTK = choose(jax.lax.stop_gradient(ranks_BTE), moe)
        weights_BTK = jnp.take_along_axis(scores_BTE, chosen_BTK, axis=-1)
        if moe.normalise:
            weights_BTK /= jnp.sum(weights_BTK, axis=-1, keepdims=True) + TINY
        real_BT = segments_BT != 0
        chosen_BTK = jnp.where(real_BT[..., None], chosen_BTK, self.n_experts)
        return Routing(chosen_BTK, moe.weight_scale * weights_BTK, _report(logits_BTE, scores_BTE, chosen_BTK, real_BT))

    def _parameter(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        return self.param(name, lambda key: initialise(f"router.{name}", shape, self.cfg, key))


def choose(ranks_BTE: jax.Array, moe: Moe) -> jax.Array:
    """Returns the `top_k` experts that rank highest, `[B, T, K]`, the lower number first where two are equal.

    With groups, only those of the `top_groups` best groups, a group being as good as its best expert (DeepSeek-AI,
    2024a) or its best two together (2024b).
    """
    if moe.n_groups > 1:
        grouped_BTGE = ranks_BTE.reshape(*ranks_BTE.shape[:-1], moe.n_groups, -1)
        best_BTGE, _ = jax.lax.top_k(grouped_BTGE, 1 if moe.group_score == "max" else 2)
        _, groups_BTK = jax.lax.top_k(jnp.sum(best_BTGE, axis=-1), moe.top_groups)
        allowed_BTG = jnp.any(jax.nn.one_hot(groups_BTK, moe.n_groups, dtype=bool), axis=-2)
        ranks_BTE = jnp.where(allowed_BTG[..., None], grouped_BTGE, -jnp.inf).reshape(ranks_BTE.shape)
    return jax.lax.top_k(ranks_BTE, moe.top_k)[1]


def _report(logits_BTE: jax.Array, scores_BTE: jax.Array, chosen_BTK: jax.Array, real_BT: jax.Array) -> Aux:
    """Returns what is summed over the batch's tokens: `load` by expert, the balance loss, and the router's z-loss.

    The balance loss of Fedus et al. (2022), E/K · Σ share chosen · mean score, is taken row by row (DeepSeek-AI,
    2024a) and counts for as many tokens as the row has: so it is the same however rows are split over micro-batches
    and devices. It is 1 where either is even. The z-loss is that of Zoph et al. (2022).
    """
    n_experts, top_k = logits_BTE.shape[-1], chosen_BTK.shape[-1]
    counts_BE = jnp.sum(jax.nn.one_hot(chosen_BTK, n_experts), axis=(1, 2))  # padding is out of range: all zeros
    shares_BTE = scores_BTE / (jnp.sum(scores_BTE, axis=-1, keepdims=True) + TINY)
    mass_BE = jnp.sum(shares_BTE * real_BT[..., None], axis=1)
    tokens_B = jnp.maximum(jnp.sum(real_BT, axis=1), 1)
    balance_B = n_experts / top_k * jnp.sum(counts_BE * mass_BE, axis=-1) / tokens_B
    log_z_BT = jax.nn.logsumexp(logits_BTE, axis=-1)
    return {
        "load": jnp.sum(counts_BE, axis=0),
        "balance": jnp.sum(balance_B),
        "z": jnp.sum(jnp.square(log_z_BT) * real_BT),
    }
