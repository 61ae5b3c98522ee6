"""Next-token loss.

Dims: B batch, T time, D width, V vocabulary, P pieces, C places of a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lm.model.ahead import has_later, later
from lm.model.context import Aux


class Loss(NamedTuple):
    """Sums over the counted targets, so that parts of a batch can be added before dividing.

    `reports` is what the layers report, by stack: sums as well, over all tokens but padding. `ahead` is nats of the
    tokens after the next, the mean over how far ahead they stand.
    """

    nats: jax.Array
    z: jax.Array
    tokens: jax.Array
    reports: Mapping[str, Aux]
    ahead: jax.Array


def token_nats(logits_BTV: jax.Array, targets_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns `[B, T]` cross-entropy in nats and the log-normalisers, both in float32."""
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    chosen_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return log_z_BT - chosen_BT, log_z_BT


def hidden_nats(
    unembed: Callable[[jax.Array], jax.Array], h_BTD: jax.Array, targets_BT: jax.Array, chunk: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Returns `token_nats` of `unembed(h_BTD)` with the logits of `chunk` places of each row in memory at a time.

    The backward pass computes them again; 0 keeps all of them.
    """
    b, t = targets_BT.shape
    if not 0 < chunk < t:
        return token_nats(unembed(h_BTD), targets_BT)
    pieces = -(-t // chunk)

    def split(a_BT: jax.Array) -> jax.Array:
        """Takes every P-th place into a piece, so that devices that split the time keep their own."""
        a_BT = jnp.pad(a_BT, ((0, 0), (0, pieces * chunk - t), *((0, 0),) * (a_BT.ndim - 2)))
        return jnp.moveaxis(a_BT.reshape(b, chunk, pieces, *a_BT.shape[2:]), 2, 0)

    piece = jax.checkpoint(lambda xs: token_nats(unembed(xs[0]), xs[1]))
    found_PBC = jax.lax.map(piece, (split(h_BTD), split(targets_BT)))
    nats_BT, log_z_BT = (jnp.moveaxis(a_PBC, 0, 2).reshape(b, -1)[:, :t] for a_PBC in found_PBC)
    return nats_BT, log_z_BT


def ahead_nats(
    unembed: Callable[[jax.Array], jax.Array],
    depths: Sequence[jax.Array],
    batch: Mapping[str, jax.Array],
    chunk: int = 0,
) -> jax.Array:
    """Sums the nats of the tokens after the next within their document, from `Decoder.foretell`; the mean over depths.

    A depth has fewer targets than the next-token loss; divided by as many, it weighs less, as in DeepSeek-AI (2024).
    """
    total = jnp.zeros(())
    for depth, h_BTD in enumerate(depths, 1):
        targets_BT, mask_BT = (later(batch[name], depth) for name in ("targets", "loss_mask"))
        nats_BT, _ = hidden_nats(unembed, h_BTD, targets_BT, chunk)
        total += jnp.sum(nats_BT * mask_BT, where=has_later(batch["segments"], depth))
    return total / max(len(depths), 1)


def masked_loss(
    nats_BT: jax.Array,
    log_z_BT: jax.Array,
    mask_BT: jax.Array,
    reports: Mapping[str, Aux] | None = None,
    ahead: jax.Array | float = 0.0,
) -> Loss:
    """Sums cross-entropy and squared log-normalisers (z-loss; Chowdhery et al., 2022) where the mask is 1."""
    sums = jnp.sum(nats_BT * mask_BT), jnp.sum(jnp.square(log_z_BT) * mask_BT), jnp.sum(mask_BT)
    return Loss(*sums, reports or {}, jnp.asarray(ahead))
