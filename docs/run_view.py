"""A finished run, opened once for the facts and the figures."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from curation_view import Curation
from ml_collections import ConfigDict

from lm import api
from lm.common import manifest
from lm.common.errors import UserError
from lm.common.mesh import make_mesh
from lm.common.metrics import read_metrics
from lm.data import tokenizer as tokenizers
from lm.data.shards import Batch, Examples, Shards, training_examples
from lm.data.tokenizer.bpe import BPE
from lm.model.config import ModelConfig
from lm.train import run as runs
from lm.train.optimizer import Optimizer
from lm.train.schedule import make_schedule
from lm.train.state import TrainState, abstract_state

WINDOW = 12  # tokens of the window that is shown as a table and as a mask
BPE_BYTES, BPE_MERGES = 60_000, 400  # small enough for plain Python
PROMPT_TOKENS, LEAST_PROMPT = 48, 8
HESITATION = 1.5  # nats


class Run:
    """A run directory: its config, metrics, shards, tokenizer and model, each read when first asked for."""

    def __init__(self, directory: Path) -> None:
        manifest.read(directory, "pretrain")
        self.directory = directory
        self.config: dict[str, Any] = runs.read_config(directory)
        self.record: dict[str, Any] = json.loads((directory / runs.RUN).read_text(encoding="utf-8"))
        self.metrics = read_metrics(directory / runs.METRICS)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Returns the steps at which a metric was logged, and its values."""
        rows = [(line["step"], line[name]) for line in self.metrics if name in line]
        return [step for step, _ in rows], [value for _, value in rows]

    @cached_property
    def shards(self) -> Shards:
        """The shards it was trained on: its own, or those its config names."""
        own = self.directory / runs.SHARDS
        return Shards.open(own if own.is_dir() else self.config["data"]["path"])

    @property
    def held_out(self) -> str:
        """The split that examples of text are taken from."""
        return "val" if "val" in self.shards.splits else "train"

    @cached_property
    def curation(self) -> Curation:
        """The curation of its text.

        Raises:
            UserError: it was not made by `lm quickstart`, so there is none.
        """
        return Curation(self.directory)

    @cached_property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The run's tokenizer."""
        return tokenizers.load(self.directory / runs.TOKENIZER)

    @cached_property
    def model(self) -> api.Model:
        """The model of the newest checkpoint."""
        return api.load(self.directory)

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state that its checkpoints hold."""
        config = ConfigDict(self.config)
        rates = make_schedule(config.schedule, config.train.steps)
        optimizer = Optimizer.from_config(config.optimizer, rates)
        return abstract_state(ModelConfig.from_dict(config.model), optimizer, make_mesh(config.mesh))

    @property
    def chance_loss(self) -> float:
        """Nats per token of a model that holds every token for equally likely."""
        return math.log(self.model.config.vocab_size)

    @cached_property
    def questions(self) -> dict[str, Any]:
        """The answers to the world's questions, as `lm eval` left them.

        Raises:
            UserError: none were asked.
        """
        path = self.directory / runs.EVALUATION
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if "questions" not in found:
            raise UserError(f"{path}: no answers to questions; `lm eval --run={self.directory} --world=True` asks them")
        return found["questions"]

    def document_ids(self, split: str, number: int = 0, index: int = 0) -> np.ndarray:
        """Returns the token ids of one document of the source of that number in a split."""
        source = self.shards.sources(split)[number]
        row = source.document(index)
        return source.gather(np.array([row["offset"]]), min(row["tokens"], source.n_tokens))[0][0]

    def examples(self, seq_len: int) -> Examples:
        """Returns the run's training examples, cut to windows of another length."""
        seed, shares = self.config["train"]["seed"], self.record["shares"]
        return training_examples(self.shards, "train", seq_len=seq_len, seed=seed, weights=shares)

    @cached_property
    def boundary_example(self) -> tuple[int, Batch]:
        """The first short window in whose middle a document ends and the next begins, and its number.

        A source of one long document has none; its first window then.
        """
        examples = self.examples(WINDOW)
        batch = examples.batch(0, 2000)
        cut_BT = batch["loss_mask"][:, WINDOW // 3 : 2 * WINDOW // 3] == 0
        number = int(np.argmax(cut_BT.any(axis=1)))
        return number, {name: array[number] for name, array in batch.items()}

    @cached_property
    def bpe(self) -> tuple[str, BPE]:
        """Some training text, and the plain-Python BPE learnt from it."""
        parts: list[str] = []
        source = self.shards.sources("train")[-1]
        for index in range(source.n_documents):
            parts.append(self.tokenizer.decode(self.document_ids("train", -1, index).tolist())[:BPE_BYTES])
            if sum(map(len, parts)) >= BPE_BYTES:
                break
        text = "\n".join(parts)[:BPE_BYTES]
        return text, BPE.train([text], BPE_MERGES)

    @cached_property
    def next_token(self) -> tuple[str, np.ndarray]:
        """A prompt from held-out text after which the model hesitates between a few tokens, and its logits `[V]`.

        Of the places in the first document it is the one whose entropy is nearest to `HESITATION`.
        """
        ids = self.document_ids(self.held_out, -1)[:PROMPT_TOKENS]
        logits_TV = jax.device_get(self.model.logits(ids[None]))[0]
        probability_TV = np.asarray(jax.nn.softmax(logits_TV))
        entropy_T = -(probability_TV * np.log(np.maximum(probability_TV, 1e-30))).sum(axis=1)
        place = LEAST_PROMPT + int(np.argmin(abs(entropy_T[LEAST_PROMPT:] - HESITATION)))
        return self.tokenizer.decode(ids[: place + 1].tolist()), logits_TV[place]
