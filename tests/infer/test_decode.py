"""Cached generation is what reading everything anew at each token would give."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.infer import decode
from lm.infer.sampling import Sampling
from lm.model import decoder
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder

GREEDY = Sampling(temperature=0.0)


@pytest.fixture
def params(model_config: ModelConfig) -> dict:
    return jax.jit(decoder.init, static_argnums=0)(model_config, jax.random.key(0))


@partial(jax.jit, static_argnums=0)
def next_token(cfg: ModelConfig, params: dict, tokens_1T: jax.Array, segments_1T: jax.Array) -> jax.Array:
    logits_BTV = Decoder(cfg).apply({"params": params}, tokens_1T, segments_1T).logits_BTV
    return jnp.argmax(logits_BTV[0], axis=-1)


def slow_greedy(cfg: ModelConfig, params: dict, prompt: list[int], n: int) -> list[int]:
    """Reads the whole text again for every token (padded on the right to one shape, which causality ignores)."""
    row = list(prompt)
    for _ in range(n):
        padded = row + [0] * (cfg.max_seq_len - len(row))
        segments = [1] * len(row) + [0] * (cfg.max_seq_len - len(row))
        row.append(int(next_token(cfg, params, jnp.asarray([padded]), jnp.asarray([segments]))[len(row) - 1]))
    return row[len(prompt) :]


def test_greedy_equals_reading_anew(model_config: ModelConfig, params: dict) -> None:
    """For prompts of different lengths in one batch."""
    prompts = [[5], [1, 2, 3, 4, 5, 6, 7], [9, 8, 7]]
    together = decode.generate(model_config, params, prompts, max_new_tokens=12, sampling=GREEDY)
    assert together == [slow_greedy(model_config, params, prompt, 12) for prompt in prompts]


@pytest.mark.parametrize("length", [13, 21, 23])
def test_a_long_prompt_is_kept_whole(model_config: ModelConfig, params: dict, length: int) -> None:
    """However its padding falls, every token of a prompt within the context is seen until the context is full."""
    prompt = [(7 * i) % model_config.vocab_size for i in range(length)]
    new = model_config.max_seq_len - length
    out = decode.generate(model_config, params, [prompt, [4]], max_new_tokens=new, sampling=GREEDY)
    assert out == [slow_greedy(model_config, params, prompt, new), slow_greedy(model_config, params, [4], new)]


def test_ids_beyond_the_tokenizer_are_never_drawn(model_config: ModelConfig, params: dict) -> None:
    out = decode.generate(model_config, params, [[1]], max_new_tokens=40, sampling=Sampling(), vocab_size=5)[0]
    assert max(out) < 5


def test_a_full_cache_goes_on_with_the_last_half(model_config: ModelConfig, params: dict) -> None:
    """Past the context, the next token is that of the last half context alone."""
    limit = model_config.max_seq_len
    out = decode.generate(model_config, params, [[3]], max_new_tokens=2 * limit, sampling=GREEDY)[0]
    assert len(out) == 2 * limit
    text = [3, *out]
    assert out[:limit] == slow_greedy(model_config, params, [3], limit)
    cut = limit + 1  # the cache holds `limit` tokens and predicts one more before it is read anew
    assert text[cut : cut + 4] == slow_greedy(model_config, params, text[cut - limit // 2 : cut], 4)


def test_sampling_is_a_function_of_the_seed(model_config: ModelConfig, params: dict) -> None:
    one, same, other = (
        decode.generate(model_config, params, [[1, 2]], max_new_tokens=16, sampling=Sampling(), seed=seed)
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_stops_before_the_stop_token(model_config: ModelConfig, params: dict) -> None:
    whole = decode.generate(model_config, params, [[1, 2]], max_new_tokens=16, sampling=Sampling(), seed=3)[0]
    stop = whole[7]
    out = decode.generate(
        model_config, params, [[1, 2]], max_new_tokens=16, sampling=Sampling(), seed=3, stop_ids=frozenset({stop})
    )[0]
    assert out == whole[: whole.index(stop)]


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []]])
def test_an_empty_prompt_is_refused(model_config: ModelConfig, params: dict, prompts: list[list[int]]) -> None:
    with pytest.raises(UserError, match="prompt: empty"):
        decode.generate(model_config, params, prompts, max_new_tokens=1, sampling=GREEDY)


def allowed(sampling: Sampling, p: list[float]) -> list[int]:
    return np.flatnonzero(np.isfinite(sampling.allowed(jnp.log(jnp.asarray([p]))))[0]).tolist()


def test_top_k_and_top_p_keep_what_they_should() -> None:
    p = [0.05, 0.4, 0.15, 0.3, 0.1]
    assert allowed(Sampling(), p) == [0, 1, 2, 3, 4]
    assert allowed(Sampling(top_k=2), p) == [1, 3]
    assert allowed(Sampling(top_p=0.5), p) == [1, 3], "the smallest set that reaches one half"
    assert allowed(Sampling(top_p=0.39), p) == [1]
    assert allowed(Sampling(top_p=0.9, top_k=3), p) == [1, 2, 3]


def test_frequencies_follow_the_tempered_distribution() -> None:
    logits_BV = jnp.log(jnp.asarray([[0.5, 0.3, 0.2]]))
    draws = jax.vmap(lambda key: Sampling(temperature=0.5).draw(logits_BV, key)[0])(
        jax.random.split(jax.random.key(0), 20_000)
    )
    expected = np.array([0.25, 0.09, 0.04]) / 0.38
    np.testing.assert_allclose(np.bincount(draws, minlength=3) / 20_000, expected, atol=0.015)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"temperature": -1}, "temperature=-1"), ({"top_k": -1}, "top_k=-1"), ({"top_p": 0}, "top_p=0")],
)
def test_sampling_refusals(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**values)
