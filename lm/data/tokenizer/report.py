"""What a vocabulary buys and costs: bytes per token, against parameters and memory of the embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.common.progress import Progress, quantity
from lm.data.tokenizer.passages import sample
from lm.data.tokenizer.train import bytes_per_token, fit

_HELD_OUT_EVERY = 10  # every tenth passage is measured on, and not trained on
_FLOAT32_BYTES = 4
_TRAINING_COPIES = 4  # weights, gradients and the two moments of AdamW


@dataclass(frozen=True)
class Row:
    """One kind at one vocabulary size; `supported` is smaller than `vocab_size` where there is too little text."""

    kind: str
    vocab_size: int
    supported: int
    bytes_per_token: float
    lossless: bool

    def embedding_parameters(self, d_model: int) -> int:
        """Returns vocabulary times width: one matrix, as with tied embeddings."""
        return self.vocab_size * d_model

    def embedding_bytes(self, d_model: int) -> int:
        """Returns the memory the embedding takes in training: float32 weights, gradients and AdamW's moments."""
        return self.embedding_parameters(d_model) * _FLOAT32_BYTES * _TRAINING_COPIES


def compare(
    config: Mapping[str, Any] | ConfigDict, texts: Iterable[str], kinds: Sequence[str], sizes: Sequence[int]
) -> list[Row]:
    """Trains every kind at every size on nine tenths of a sample of the texts, and measures on the rest.

    `config` is the tokenizer stage's; its kind and vocab_size are replaced. Characters have one size, their number.

    Raises:
        UserError: less text than two passages, or a size too small for a kind.
    """
    passages = sample(texts, config["sample_bytes"], config["seed"])
    if len(passages) < 2:
        raise UserError("tokenizer report: one passage of text is too little to train and measure on; give more text")
    every = min(_HELD_OUT_EVERY, len(passages))
    held_out = passages[every - 1 :: every]
    trained_on = [passage for n, passage in enumerate(passages, 1) if n % every]
    tasks = [(kind, size) for kind in kinds for size in (sizes if kind != "char" else (None,))]
    rows = []
    with Progress("tokenizer report", len(tasks), "tokenizers") as progress:
        for kind, size in tasks:
            rows.append(_measure({**dict(config), "kind": kind, "vocab_size": size}, trained_on, held_out))
            progress.advance(note=f"{kind} {rows[-1].vocab_size}")
    return rows


def _measure(config: dict[str, Any], trained_on: Sequence[str], held_out: Sequence[str]) -> Row:
    _, tokenizer = fit(config, trained_on)
    return Row(
        kind=config["kind"],
        vocab_size=config["vocab_size"] or tokenizer.vocab_size,
        supported=tokenizer.vocab_size,
        bytes_per_token=bytes_per_token(tokenizer, held_out),
        lossless=tokenizer.lossless,
    )


def table(rows: Sequence[Row], d_model: int) -> str:
    """Returns the rows as a Markdown table for a model of width `d_model`."""
    lines = [
        f"| kind | vocabulary | bytes per token | embedding parameters (width {d_model}) | its memory in training |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        measured = f"{row.bytes_per_token:.3f}" + ("" if row.lossless else " (not lossless)")
        if row.supported < row.vocab_size:
            measured = f"text supports {row.supported:,}"
        parameters = quantity(row.embedding_parameters(d_model))
        memory = f"{row.embedding_bytes(d_model) / 2**20:,.1f} MiB"
        lines.append(f"| {row.kind} | {row.vocab_size:,} | {measured} | {parameters} | {memory} |")
    return "\n".join(lines)
