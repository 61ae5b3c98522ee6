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

from lm.common.checkpoint import Checkpoints
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

    def logits(self, tokens_BT: np.ndarray | jax.Array) -> jax.Array:
        """Returns next-token scores `[B, T, V]` in float32 for token ids `[B, T]`."""
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
        rows = decode.generate(
            self.config,
            self.params,
            [self._encode(text) for text in texts],
            max_new_tokens=max_new_tokens,
            sampling=Sampling(temperature, top_k, top_p),
            seed=seed,
            stop_ids=frozenset({self.tokenizer.eos_id}),
        )
        completions = [self.tokenizer.decode(row) for row in rows]
        return completions[0] if isinstance(prompts, str) else completions

    def stream(self, prompt: str, *, max_new_tokens: int, sampling: Sampling, seed: int = 0) -> Iterator[str]:
        """Yields the continuation of a prompt piece by piece, as soon as its characters are whole."""
        ids: list[int] = []
        shown = ""
        steps = decode.stream(
            self.config,
            self.params,
            [self._encode(prompt)],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            seed=seed,
        )
        for token_B in steps:
            if token_B[0] == self.tokenizer.eos_id:
                break
            ids.append(int(token_B[0]))
            text = self.tokenizer.decode(ids)
            if not text.endswith("\ufffd"):  # a character whose last bytes are yet to come
                yield text[len(shown) :]
                shown = text
        if len(text := self.tokenizer.decode(ids)) > len(shown):
            yield text[len(shown) :]

    def _encode(self, prompt: str) -> list[int]:
        return ([self.tokenizer.bos_id] if self.bos else []) + self.tokenizer.encode(prompt)


@partial(jax.jit, static_argnums=0)
def _logits(config: ModelConfig, params: Any, tokens_BT: jax.Array) -> jax.Array:
    return Decoder(config).apply({"params": params}, tokens_BT).logits_BTV


def load(run: str | Path, *, step: int | None = None, best: bool = False) -> Model:
    """Loads a run directory's model: its newest checkpoint, or the one at `step`, or the best by validation loss.

    Raises:
        UserError: no run there, no such checkpoint, or one that does not verify.
    """
    directory = Path(run)
    config = runs.read_config(directory)
    with Checkpoints(directory / runs.CHECKPOINTS) as checkpoints:
        found, params, _ = checkpoints.restore_params(step, best=best)
    return Model(
        config=ModelConfig.from_dict(config["model"]),
        tokenizer=tokenizers.load(directory / runs.TOKENIZER),
        params=params,
        step=found,
        bos=config["data"]["bos"],
    )
