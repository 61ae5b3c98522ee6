"""Held-out loss, perplexity and bits per byte.

Dims: B batch, T time, V vocabulary, S sources of the split, 4 the fields of `Sums`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.data.shards import Shards, evaluation_batches
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.train.loss import hidden_nats
from lm.train.step import place

KEYS = ("tokens", "targets", "segments", "positions", "loss_mask")


class Sums(NamedTuple):
    """Nats and counts over the predicted tokens of each row; those of text alone beside those of all."""

    nats_B: jax.Array
    tokens_B: jax.Array
    text_nats_B: jax.Array
    text_bytes_B: jax.Array


class Perplexity:
    """Scores a split of a shard directory; an `Evaluator` for the train loop.

    Bits per byte are nats / (ln 2 · UTF-8 bytes), control tokens left out of both, so that models with different
    tokenizers can be compared; NaN where it is not known what text the tokens stand for.

    Raises:
        UserError: the split holds no token that follows another one of its document.
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
        loss_chunk: int = 0,
    ) -> None:
        self._shards, self._split, self._seq_len = shards, split, model.max_seq_len
        self._batch_size, self._max_tokens = batch_size, max_tokens
        self._score = jax.jit(batch_sums(model, jnp.asarray(token_bytes_V), loss_chunk))
        if all(source.n_tokens == source.n_documents for source in shards.sources(split)):  # before hours of training
            raise self._nothing_to_predict()

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns `{split}/loss` in nats per token, `{split}/bits_per_byte` and `{split}/perplexity`.

        They are means over all tokens scored, each of them counted once, whatever the mixture trained on: what a
        source weighs is its length. Where there are several, `{split}/{source}/loss` and
        `{split}/{source}/bits_per_byte` tell them apart, for each that has something to predict.

        Raises:
            UserError: the first `max_tokens` of the split hold nothing to predict.
        """
        totals_S4 = self._totals(params)
        total_4 = totals_S4.sum(axis=0)
        if not total_4[1]:
            raise self._nothing_to_predict()
        loss, bits = _means(total_4)
        figures = {
            f"{self._split}/loss": loss,
            f"{self._split}/bits_per_byte": bits,
            f"{self._split}/perplexity": math.exp(min(loss, 700.0)),
        }
        names = self._shards.splits[self._split]
        for name, sums_4 in zip(names, totals_S4, strict=True):
            if len(names) > 1 and sums_4[1]:
                loss, bits = _means(sums_4)
                figures |= {f"{self._split}/{name}/loss": loss, f"{self._split}/{name}/bits_per_byte": bits}
        return figures

    def _totals(self, params: Any) -> np.ndarray:
        """Sums each field of `Sums` by source `[S, 4]`, in float64 on the host: float32 stops counting at 16.7M."""
        totals_S4 = np.zeros((len(self._shards.splits[self._split]), len(Sums._fields)), np.float64)
        running: tuple[np.ndarray, Sums] | None = None
        for batch in self._batches():
            done, running = running, (batch["source"], self._score(params, self._placed(params, batch)))
            _add(totals_S4, done)  # waits for the batch before, while this one runs
        _add(totals_S4, running)
        return totals_S4

    def _placed(self, params: Any, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Splits a batch over the mesh that the parameters are on, if they are on one."""
        mesh = getattr(jax.tree.leaves(params)[0].sharding, "mesh", None)
        if mesh is None or mesh.size == 1:
            return {key: batch[key] for key in KEYS}
        rows_R = meshes.local_rows(mesh, self._batch_size)
        return place({key: batch[key][rows_R] for key in KEYS}, mesh, self._batch_size)

    def _batches(self) -> Iterator[dict[str, np.ndarray]]:
        return evaluation_batches(
            self._shards,
            self._split,
            seq_len=self._seq_len,
            batch_size=self._batch_size,
            max_tokens=self._max_tokens,
        )

    def _nothing_to_predict(self) -> UserError:
        sources = self._shards.sources(self._split)
        tokens, documents = (sum(getattr(source, name) for source in sources) for name in ("n_tokens", "n_documents"))
        within = f" within the first {self._max_tokens}" if self._max_tokens else ""
        return UserError(
            f"{self._shards.directory}: split {self._split} ({tokens} tokens in {documents} documents) has no token to "
            f"predict from one before it{within}; hold out longer documents, or more of them"
        )


def _add(totals_S4: np.ndarray, scored: tuple[np.ndarray, Sums] | None) -> None:
    """Adds each row of a scored batch to its source's totals, in place; rows of padding hold nothing."""
    if scored is not None:
        source_B, sums = scored
        np.add.at(totals_S4, source_B, np.stack(jax.device_get(sums), axis=1, dtype=np.float64))


def _means(sums_4: np.ndarray) -> tuple[float, float]:
    """Returns nats per token and bits per byte of text; the latter NaN where no text is known."""
    nats, tokens, text_nats, text_bytes = sums_4.tolist()
    return nats / tokens, text_nats / math.log(2) / text_bytes if text_bytes else math.nan


def batch_sums(
    model: ModelConfig, token_bytes_V: jax.Array, loss_chunk: int = 0
) -> Callable[[Any, dict[str, jax.Array]], Sums]:
    """Returns a function of parameters and a batch with `KEYS`, each `[B, T]`, that sums over each of its rows."""

    def score(params: Any, batch: dict[str, jax.Array]) -> Sums:
        decoder = partial(Decoder(model).apply, {"params": params})
        hidden = decoder(batch["tokens"], batch["segments"], batch["positions"], method="hidden")
        nats_BT, _ = hidden_nats(partial(decoder, method="unembed"), hidden.h_BTD, batch["targets"], loss_chunk)
        counted_BT = batch["loss_mask"] > 0
        bytes_BT = jnp.where(counted_BT, token_bytes_V[batch["targets"]], 0)
        sums = Sums(
            nats_B=jnp.sum(nats_BT, axis=1, where=counted_BT),
            tokens_B=jnp.sum(counted_BT, axis=1),
            text_nats_B=jnp.sum(nats_BT, axis=1, where=bytes_BT > 0),
            text_bytes_B=jnp.sum(bytes_BT, axis=1),
        )
        return jax.tree.map(lambda sum_B: meshes.constrain(sum_B, (None,)), sums)  # all of them, on every process

    return score
