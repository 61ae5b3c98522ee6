"""A trained model as a judge of single texts: the bits it needs per byte.

Dims: B windows at a time, T window, N predicted tokens.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lm.common import buckets
from lm.common.checkpoint import Checkpoints
from lm.data import tokenizer as tokenizers
from lm.evals.perplexity import KEYS, batch_sums
from lm.model.config import ModelConfig
from lm.train import run as runs

MOST_BYTES = 1 << 15  # of a text that are read: enough to tell what it is like
_MOST_WINDOWS = 8  # at a time
_LEAST_LENGTH = 32  # of a window: shorter texts are padded, so that few shapes are compiled
_UNREAD = 8.0  # bits per byte of what no model has looked at


@dataclass(frozen=True)
class BitsPerByte:
    """Bits per byte that a run's newest checkpoint needs for a text; a `Scorer`: the lower, the more like its training.

    The text is read as a document of its own, in windows of the model's context and up to `MOST_BYTES`; control tokens
    are left out, as in `Perplexity`. A text in which nothing can be predicted costs what its bytes do, 8 bits each.

    Pickles as the name of the run, which each process opens once, at its first text.

    Raises:
        UserError: no run there, or none with a checkpoint (at the first text).
    """

    run: str

    def __call__(self, text: str) -> float:
        return _open(self.run).bits_per_byte(text)


@dataclass(frozen=True)
class _Reader:
    """An opened run."""

    model: ModelConfig
    params: Any
    tokenizer: tokenizers.Tokenizer
    bos: bool
    eos: bool
    score: Any

    def bits_per_byte(self, text: str) -> float:
        beginning = text.encode()[:MOST_BYTES].decode("utf-8", "ignore")  # without half a character at its end
        ids = [self.tokenizer.bos_id] * self.bos + self.tokenizer.encode(beginning)
        ids += [self.tokenizer.eos_id] * self.eos
        nats, text_bytes = 0.0, 0.0
        for batch in batches(np.array(ids, np.int32), self.model.max_seq_len):
            sums = jax.device_get(self.score(self.params, batch))
            nats += float(np.sum(sums.text_nats_B, dtype=np.float64))
            text_bytes += float(np.sum(sums.text_bytes_B))
        return nats / math.log(2) / text_bytes if text_bytes else _UNREAD


@functools.cache
def _open(run: str) -> _Reader:
    directory = Path(run)
    config = runs.read_config(directory)
    with Checkpoints(buckets.checkpoints(directory)) as checkpoints:
        _, params, _ = checkpoints.restore_params()
    tokenizer = tokenizers.load(directory / runs.TOKENIZER)
    model = runs.model_of(config)
    score = jax.jit(batch_sums(model, jnp.asarray(tokenizer.token_bytes())))
    return _Reader(model, params, tokenizer, config["data"]["bos"], config["data"]["eos"], score)


def batches(tokens: np.ndarray, seq_len: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches, `KEYS` [B, T] each, in which every token [N + 1] int32 but the first is predicted once.

    Windows of `seq_len` tokens at a stride of as many; B and T are powers of two (T at most `seq_len`), the rest
    padding, so that texts of all lengths have few shapes between them.
    """
    n_predicted = len(tokens) - 1
    length = min(seq_len, max(_LEAST_LENGTH, _power(n_predicted)))
    starts = range(0, n_predicted, length)
    for first in range(0, len(starts), _MOST_WINDOWS):
        here = starts[first : first + _MOST_WINDOWS]
        index_BT = here.start + np.arange(_power(len(here)) * length).reshape(-1, length)
        mask_BT = index_BT < n_predicted
        values = {
            "tokens": np.where(mask_BT, tokens[np.minimum(index_BT, n_predicted)], 0),
            "targets": np.where(mask_BT, tokens[np.minimum(index_BT + 1, n_predicted)], 0),
            "segments": mask_BT.astype(np.int32),
            "positions": np.where(mask_BT, np.arange(length, dtype=np.int32), 0),
            "loss_mask": mask_BT.astype(np.float32),
        }
        yield {key: values[key] for key in KEYS}


def _power(n: int) -> int:
    """Returns the least power of two that is no less than n."""
    return 1 << max(n - 1, 0).bit_length()
