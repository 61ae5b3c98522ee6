"""Held-out loss, perplexity and bits per byte.

Dims: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lm.data.shards import Shards, evaluation_batches
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.train.loss import token_nats

KEYS = ("tokens", "targets", "segments", "positions", "loss_mask")


class Sums(NamedTuple):
    """Nats and counts over predicted tokens; those of text alone beside those of all."""

    nats: jax.Array
    tokens: jax.Array
    text_nats: jax.Array
    text_bytes: jax.Array


class Perplexity:
    """Scores a split of a shard directory; an `Evaluator` for the train loop.

    Bits per byte are nats / (ln 2 · UTF-8 bytes), control tokens left out of both, so that models with different
    tokenizers can be compared.
    """

    def __init__(
        self,
        model: ModelConfig,
        shards: Shards,
        token_bytes_V: np.ndarray,
        *,
        split: str,
        batch_size: int,
        max_tokens: int,
    ) -> None:
        self._shards, self._split, self._seq_len = shards, split, model.max_seq_len
        self._batch_size, self._max_tokens = batch_size, max_tokens
        self._score = jax.jit(_scorer(model, jnp.asarray(token_bytes_V)))

    def _batches(self) -> Iterator[dict[str, np.ndarray]]:
        return evaluation_batches(
            self._shards,
            self._split,
            seq_len=self._seq_len,
            batch_size=self._batch_size,
            max_tokens=self._max_tokens,
        )

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns `{split}/loss` in nats per token, `{split}/bits_per_byte` and `{split}/perplexity`."""
        parts = [self._score(params, {key: batch[key] for key in KEYS}) for batch in self._batches()]
        # Summed on the host in float64: a float32 count stops growing at 16.7M tokens.
        total = {name: math.fsum(float(getattr(part, name)) for part in parts) for name in Sums._fields}
        loss = total["nats"] / max(total["tokens"], 1.0)
        return {
            f"{self._split}/loss": loss,
            f"{self._split}/bits_per_byte": total["text_nats"] / math.log(2) / max(total["text_bytes"], 1.0),
            f"{self._split}/perplexity": math.exp(min(loss, 700.0)),
        }


def _scorer(model: ModelConfig, token_bytes_V: jax.Array) -> Any:
    def score(params: Any, batch: dict[str, jax.Array]) -> Sums:
        output = Decoder(model).apply({"params": params}, batch["tokens"], batch["segments"], batch["positions"])
        nats_BT, _ = token_nats(output.logits_BTV, batch["targets"])
        mask_BT = batch["loss_mask"]
        bytes_BT = token_bytes_V[batch["targets"]]
        text_BT = mask_BT * (bytes_BT > 0)
        return Sums(
            nats=jnp.sum(nats_BT * mask_BT),
            tokens=jnp.sum(mask_BT),
            text_nats=jnp.sum(nats_BT * text_BT),
            text_bytes=jnp.sum(bytes_BT * text_BT),
        )

    return score
