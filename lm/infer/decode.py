"""Cached decoding: prompts are read once, then one token at a time.

Prompts of a batch are padded on the left, so that every row writes to the same cache slot; padding is segment 0,
which nothing attends to. When a row reaches the model's context, all but the last half context of each row is dropped
and the rest read again: what follows is exactly the model's continuation of the shortened text.

Dims: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lm.common.errors import UserError
from lm.infer.sampling import Sampling
from lm.model import cache as kv
from lm.model.cache import Cache
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder, Hidden


def stream(
    model: ModelConfig,
    params: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    vocab_size: int | None = None,
) -> Iterator[np.ndarray]:
    """Yields the next token of every row, `[B]` int32, `max_new_tokens` times.

    Ids from `vocab_size` on are never drawn: rows that pad a model's vocabulary beyond its tokenizer's.

    Raises:
        UserError: no prompt, an empty one, or no token asked for.
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise UserError("prompt: empty, and this model's texts begin with no <bos> to go on from; give some text")
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens={max_new_tokens}: must be at least 1")
    rows = [list(prompt) for prompt in prompts]
    key = jax.random.key(seed)
    made, kept = 0, model.max_seq_len
    while made < max_new_tokens:
        window = [row[-kept:] for row in rows]
        tokens_BT, segments_BT, positions_BT = _left_padded(window, model.max_seq_len)
        logits_BV, cache = _read(model, params, tokens_BT, segments_BT, positions_BT)
        position_B = jnp.asarray([len(row) for row in window], jnp.int32)
        for free in range(model.max_seq_len - max(map(len, window)), -1, -1):
            token_B = np.asarray(_draw(sampling, vocab_size, logits_BV, jax.random.fold_in(key, made)))
            for row, token in zip(rows, token_B.tolist(), strict=True):
                row.append(token)
            made += 1
            yield token_B
            if made == max_new_tokens or not free:
                break
            logits_BV, cache = _advance(model, params, jnp.asarray(token_B), position_B, cache)
            position_B = position_B + 1
        kept = max(1, model.max_seq_len // 2)


def generate(
    model: ModelConfig,
    params: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    vocab_size: int | None = None,
    stop_ids: frozenset[int] = frozenset(),
) -> list[list[int]]:
    """Returns each row's new tokens, up to (not including) the first stop token."""
    new: list[list[int]] = [[] for _ in prompts]
    stopped = [False] * len(prompts)
    steps = stream(
        model, params, prompts, max_new_tokens=max_new_tokens, sampling=sampling, seed=seed, vocab_size=vocab_size
    )
    for token_B in steps:
        for row, token in enumerate(token_B.tolist()):
            stopped[row] = stopped[row] or token in stop_ids
            if not stopped[row]:
                new[row].append(token)
        if all(stopped):
            break
    return new


def _left_padded(rows: Sequence[Sequence[int]], limit: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pads on the left to a power of two (few shapes to compile), at most `limit`: tokens, segments, positions."""
    longest = max(map(len, rows))
    width = min(limit, 1 << (longest - 1).bit_length())
    tokens_BT, segments_BT, positions_BT = (np.zeros((len(rows), width), np.int32) for _ in range(3))
    for i, row in enumerate(rows):
        places = slice(width - len(row), width)
        tokens_BT[i, places], segments_BT[i, places], positions_BT[i, places] = row, 1, np.arange(len(row))
    return jnp.asarray(tokens_BT), jnp.asarray(segments_BT), jnp.asarray(positions_BT)


@partial(jax.jit, static_argnums=(0, 1))
def _draw(sampling: Sampling, vocab_size: int | None, logits_BV: jax.Array, key: jax.Array) -> jax.Array:
    return sampling.draw(logits_BV[:, :vocab_size], key)


@partial(jax.jit, static_argnums=0)
def _read(
    model: ModelConfig, params: Any, tokens_BT: jax.Array, segments_BT: jax.Array, positions_BT: jax.Array
) -> tuple[jax.Array, Cache | None]:
    cache = kv.empty(model, tokens_BT.shape[0], tokens_BT.shape[1] + model.max_seq_len)  # padding takes slots too
    hidden = _hidden(model, params, tokens_BT, segments_BT, positions_BT, cache)
    return _logits(model, params, hidden.h_BTD[:, -1:]), hidden.cache


@partial(jax.jit, static_argnums=0, donate_argnums=4)
def _advance(
    model: ModelConfig, params: Any, token_B: jax.Array, position_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache | None]:
    ones_B1 = jnp.ones((token_B.shape[0], 1), jnp.int32)
    hidden = _hidden(model, params, token_B[:, None], ones_B1, position_B[:, None], cache)
    return _logits(model, params, hidden.h_BTD), hidden.cache


def _hidden(model: ModelConfig, params: Any, *places: Any) -> Hidden:
    tokens_BT, segments_BT, positions_BT, cache = places
    return Decoder(model).apply(
        {"params": params}, tokens_BT, segments_BT, positions_BT, cache=cache, method=Decoder.hidden
    )


def _logits(model: ModelConfig, params: Any, h_B1D: jax.Array) -> jax.Array:
    """Scores the last place only: a prompt's other logits are never made."""
    return Decoder(model).apply({"params": params}, h_B1D, method=Decoder.unembed)[:, -1]
