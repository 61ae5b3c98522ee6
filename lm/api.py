"""`lm.load(RUN)`: a trained model as one object, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from lm.common import buckets
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.infer import decode
from lm.infer.sampling import Sampling
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.train import run as runs


@dataclass(frozen=True)
class Model:
    """A trained model: its architecture, tokenizer and parameters.

    Attributes:
        config: the architecture.
        tokenizer: text to token ids and back.
        params: the parameter tree, float32.
        step: the training step of the checkpoint.
        bos: whether documents began with `<bos>` in training, and prompts so do here.
    """

    config: ModelConfig
    tokenizer: tokenizers.Tokenizer
    params: Any
    step: int
    bos: bool

    def logits(self, tokens_BT: ArrayLike) -> jax.Array:
        """Returns next-token scores `[B, T, V]` in float32 for token ids `[B, T]`.

        Raises:
            UserError: more tokens than the model's context, or an id outside its vocabulary.
        """
        ids_BT = np.asarray(tokens_BT)
        if ids_BT.ndim != 2 or ids_BT.shape[1] > self.config.max_seq_len:
            raise UserError(f"tokens of shape {ids_BT.shape}: give [B, T] with T at most {self.config.max_seq_len}")
        if ids_BT.size and not 0 <= ids_BT.min() <= ids_BT.max() < self.config.vocab_size:
            raise UserError(
                f"token ids {ids_BT.min()} to {ids_BT.max()}: the model knows 0 to {self.config.vocab_size - 1}"
            )
        return _logits(self.config, self.params, jnp.asarray(tokens_BT, jnp.int32))

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Any:
        """Continues a prompt (returns a str), or each of several (a list), until `<eos>` or `max_new_tokens`.

        Only the new text is returned.

        Raises:
            UserError: a sampling value out of range, or an empty prompt where training knew no `<bos>`.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        prompt_ids = [self._encode(text) for text in texts]
        rows = decode.generate(
            self.config,
            self.params,
            prompt_ids,
            max_new_tokens=max_new_tokens,
            sampling=Sampling(temperature, top_k, top_p),
            seed=seed,
            vocab_size=self.tokenizer.vocab_size,
            stop_ids=self.tokenizer.stop_ids,
        )
        completions = [self._continuation(prompt, row) for prompt, row in zip(prompt_ids, rows, strict=True)]
        return completions[0] if isinstance(prompts, str) else completions

    def stream(self, prompt: str, *, max_new_tokens: int, sampling: Sampling, seed: int = 0) -> Iterator[str]:
        """Yields the continuation of a prompt piece by piece, as soon as its characters are whole."""
        prompt_ids = self._encode(prompt)
        ids: list[int] = []
        shown = ""
        steps = decode.stream(
            self.config,
            self.params,
            [prompt_ids],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            seed=seed,
            vocab_size=self.tokenizer.vocab_size,
        )
        for token_B in steps:
            if int(token_B[0]) in self.tokenizer.stop_ids:
                break
            ids.append(int(token_B[0]))
            text = self._continuation(prompt_ids, ids)
            if not text.endswith("\ufffd"):  # a character whose last bytes are yet to come
                yield text[len(shown) :]
                shown = text
        if len(text := self._continuation(prompt_ids, ids)) > len(shown):
            yield text[len(shown) :]

    def _continuation(self, prompt_ids: list[int], new_ids: list[int]) -> str:
        """Decodes new tokens behind their prompt, since what stands between two tokens may be a matter of both."""
        before = self.tokenizer.decode(prompt_ids)
        return self.tokenizer.decode([*prompt_ids, *new_ids])[len(before) :]

    def _encode(self, prompt: str) -> list[int]:
        return ([self.tokenizer.bos_id] if self.bos else []) + self.tokenizer.encode(prompt)


@partial(jax.jit, static_argnums=0)
def _logits(config: ModelConfig, params: Any, tokens_BT: jax.Array) -> jax.Array:
    return Decoder(config).apply({"params": params}, tokens_BT).logits_BTV


def load(run: str | Path, *, step: int | None = None, best: bool = False) -> Model:
    """Loads the model of a run directory or address: its newest checkpoint, the one at `step`, or the best by val/loss.

    Raises:
        UserError: no run there, no such checkpoint, or one that does not verify.
    """
    with buckets.at_hand(str(run)) as directory:
        config = runs.read_config(directory)
        with Checkpoints(buckets.checkpoints(directory)) as checkpoints:
            found, params, _ = checkpoints.restore_params(step, best=best)
        return Model(
            config=runs.model_of(config),
            tokenizer=tokenizers.load(directory / runs.TOKENIZER),
            params=params,
            step=found,
            bos=config["data"]["bos"],
        )
