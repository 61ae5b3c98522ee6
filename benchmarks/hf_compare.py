"""How far our logits are from Hugging Face's own, for one model: import, export, padding, caches, greedy texts.

Every comparison is in float32 on the CPU, against Hugging Face's eager attention. Differences are the largest there
is, relative to the largest logit.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from benchmarks.hf_specimens import VOCAB, Specimen, save
from lm.convert import hf
from lm.model import cache as caches
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder

TOLERANCE = 2e-5
TIE = 1e-4  # the best two logits are nearer than this, relative to the largest
PROMPTS = (5, 12, 9)
GENERATED = 64


@dataclass(frozen=True)
class Batch:
    """Texts padded on the left: `tokens`, which of them are `real`, and their positions, all `[B, T]`."""

    tokens: np.ndarray
    real: np.ndarray
    positions: np.ndarray


@dataclass
class Result:
    """What one family's comparison found: differences by kind; near-ties and wrong ones of all `tokens` written."""

    layers: int
    lengths: tuple[int, ...]
    differences: dict[str, float] = field(default_factory=dict)
    ties: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    tokens: int = 0

    @property
    def good(self) -> bool:
        """Whether every difference is within the tolerance and every token the same but at near-ties."""
        return not self.wrong and all(value <= TOLERANCE for value in self.differences.values())


def texts(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Draws texts of random tokens, special ones left out."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCAB, length) for length in lengths]


def batch(rows: Sequence[np.ndarray]) -> Batch:
    """Pads texts on the left with token 0."""
    width = max(len(row) for row in rows)
    tokens, real = np.zeros((len(rows), width), np.int32), np.zeros((len(rows), width), np.int32)
    for i, row in enumerate(rows):
        tokens[i, width - len(row) :] = row
        real[i, width - len(row) :] = 1
    return Batch(tokens, real, np.maximum(np.cumsum(real, axis=1) - 1, 0).astype(np.int32))


@partial(jax.jit, static_argnums=0)
def ours(cfg: ModelConfig, params: Any, tokens: Any, real: Any, positions: Any, cache: Any = None) -> Any:
    """Returns our logits `[B, T, V]` and the cache, if one was given."""
    out = Decoder(cfg).apply({"params": params}, tokens, real, positions, cache=cache)
    return out.logits_BTV, out.cache


def theirs(model: PreTrainedModel, texts: Batch, **more: Any) -> Any:
    """Returns Hugging Face's output for a padded batch."""
    given = {"attention_mask": torch.from_numpy(texts.real).long(), "use_cache": False, **more}
    if "position_ids" in inspect.signature(model.forward).parameters:
        given["position_ids"] = torch.from_numpy(texts.positions).long()
    with torch.no_grad():
        return model(torch.from_numpy(texts.tokens).long(), **given)


def alone(model: PreTrainedModel, row: np.ndarray) -> np.ndarray:
    """Returns Hugging Face's logits `[T, V]` of one text without padding."""
    with torch.no_grad():
        return model(torch.from_numpy(row)[None].long(), use_cache=False).logits[0].numpy()


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the largest difference, relative to the largest wanted value; infinite where something is no number."""
    gap = np.abs(found - wanted).max() / np.abs(wanted).max()
    return float(gap) if np.isfinite(gap) else float("inf")


def compare(specimen: Specimen, model: PreTrainedModel, cfg: ModelConfig, params: Any) -> dict[str, float]:
    """Returns the differences of full forward passes: texts within the context, past it, and padded."""
    rows = texts(specimen.lengths)
    together = batch(rows)
    logits = np.asarray(ours(cfg, params, together.tokens, together.real, together.positions)[0])
    found: dict[str, float] = {}
    for row, mine in zip(rows, logits, strict=True):
        kind = (
            "past"
            if len(row) > (getattr(model.config, "max_position_embeddings", None) or cfg.max_seq_len)
            else "within"
        )
        found[kind] = max(found.get(kind, 0.0), difference(mine[-len(row) :], alone(model, row)))
    if specimen.padded:
        mask = together.real.astype(bool)
        found["padded"] = difference(logits[mask], theirs(model, together).logits.numpy()[mask])
    return found


def generate(
    specimen: Specimen, model: PreTrainedModel, cfg: ModelConfig, params: Any, result: Result, steps: int
) -> None:
    """Lets both write greedily with a cache; after a near-tie both go on with Hugging Face's token."""
    prompts = texts(PROMPTS if specimen.padded else PROMPTS[:1], seed=1)
    now = batch(prompts)
    cache = caches.empty(cfg, len(prompts), now.tokens.shape[1] + steps)
    tokens, seen, past = now.tokens, now.real, DynamicCache(config=model.config)
    cached, wanted = [], []
    for step in range(steps):
        mask = torch.from_numpy(seen if specimen.whole_mask else now.real).long()
        out = theirs(model, now, attention_mask=mask, use_cache=True, **{specimen.cache: past})
        logits, cache = ours(cfg, params, now.tokens, now.real, now.positions, cache)
        cached.append(np.asarray(logits[:, -1]))
        wanted.append(out.logits[:, -1].numpy())
        _same_tokens(cached[-1], wanted[-1], step, result)
        following = wanted[-1].argmax(-1)[:, None].astype(np.int32)
        now = Batch(following, np.ones_like(following), now.positions[:, -1:] + 1)
        tokens, seen = np.concatenate([tokens, now.tokens], 1), np.concatenate([seen, now.real], 1)
    result.tokens = len(prompts) * steps
    result.differences["cached"] = difference(np.stack(cached, 1), np.stack(wanted, 1))
    tokens, seen = tokens[:, :-1], seen[:, :-1]
    logits, _ = ours(cfg, params, tokens, seen, np.maximum(np.cumsum(seen, axis=1) - 1, 0))
    result.differences["itself"] = difference(np.stack(cached, 1), np.asarray(logits[:, -steps:]))


def _same_tokens(found: np.ndarray, wanted: np.ndarray, step: int, result: Result) -> None:
    """Notes where the two would choose another token, apart by whether it is a near-tie."""
    for row in np.flatnonzero(found.argmax(-1) != wanted.argmax(-1)):
        second, first = np.sort(wanted[row])[-2:]
        gap = (first - second) / np.abs(wanted[row]).max()
        note = f"text {row + 1}, token {step + 1}: the best two {gap:.1e} apart"
        (result.ties if gap < TIE else result.wrong).append(note)


def shuffled(params: Any, seed: int = 0) -> Any:
    """Returns parameters with each tensor's values in another order, so that export does not lean on import."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.permutation(np.asarray(a).ravel()).reshape(a.shape)), params)


def measure(specimen: Specimen, directory: Path, *, steps: int = GENERATED) -> Result:
    """Compares one family, import and export, with files under `directory`."""
    model = save(specimen, directory / "theirs")
    cfg, params, family, _ = hf.read(directory / "theirs")
    result = Result(cfg.n_layers, specimen.lengths, compare(specimen, model, cfg, params))
    generate(specimen, model, cfg, params, result, steps)
    params = shuffled(params)
    hf.write(cfg, params, directory / "ours", family=family.model_type)
    again = AutoModelForCausalLM.from_pretrained(directory / "ours", attn_implementation="eager", dtype=torch.float32)
    result.differences["export"] = max(compare(specimen, again.eval(), cfg, params).values())
    return result
