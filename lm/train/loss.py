"""Next-token loss.

Dims: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """Sums over the counted targets, so that parts of a batch can be added before dividing."""

    nats: jax.Array
    z: jax.Array
    tokens: jax.Array


def token_nats(logits_BTV: jax.Array, targets_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns `[B, T]` cross-entropy in nats and the log-normalisers, both in float32."""
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    chosen_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return log_z_BT - chosen_BT, log_z_BT


def next_token_loss(logits_BTV: jax.Array, targets_BT: jax.Array, mask_BT: jax.Array) -> Loss:
    """Sums cross-entropy and squared log-normalisers (z-loss; Chowdhery et al., 2022) where the mask is 1."""
    nats_BT, log_z_BT = token_nats(logits_BTV, targets_BT)
    return Loss(jnp.sum(nats_BT * mask_BT), jnp.sum(jnp.square(log_z_BT) * mask_BT), jnp.sum(mask_BT))
