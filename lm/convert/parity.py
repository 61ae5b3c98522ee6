"""Whether an exported PyTorch module computes what the JAX model does: both run on the same random tokens.

Dims: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from lm.common.manifest import attempt_id
from lm.model import cache as caches
from lm.model.cache import Cache
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder, Output

TOLERANCE = 2e-5  # of the largest logit; float32 rounding in another order stays an order of magnitude below
# What is read, and how it is told.
CASES = {
    "tokens": "whole rows",
    "padded": "padded rows",
    "packed": "several documents a row",
    "distant": "far positions",
    "cached": "with a cache",
}
_ROWS, _LONGEST = 3, 48


class Case(NamedTuple):
    """Tokens with their documents (0 is padding) and positions, all `[B, T]`."""

    tokens_BT: np.ndarray
    segments_BT: np.ndarray
    positions_BT: np.ndarray


def is_possible() -> bool:
    """Says whether torch and transformers are installed."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def measure(cfg: ModelConfig, params: Any, directory: Path, *, seed: int = 0) -> dict[str, float]:
    """Returns the largest difference between any two logits, as a share of the largest logit, by what was read.

    Both compute in float32, PyTorch on the CPU. `tokens`: whole rows; `padded`: rows of several lengths, padded on the
    left; `packed`: several documents a row; `distant`: positions up to the context's end, and past it where the model
    has no table of them; `cached`: the padded rows once more, half of them at once and then token by token.
    """
    reference = dataclasses.replace(cfg, dtype="float32", attention_backend="xla", remat="none", dropout=0.0)
    cases = _cases(cfg, np.random.default_rng(seed))

    @jax.jit
    def read(params: Any, case: Case, cache: Cache | None = None) -> Output:
        return Decoder(reference).apply({"params": params}, *case, cache=cache)

    with jax.default_matmul_precision("highest"):  # not the quicker, coarser products that accelerators default to
        wanted = {name: np.asarray(read(params, case).logits_BTV) for name, case in cases.items()}
        wanted["cached"] = wanted["padded"]
        if cfg.moe.capacity_factor:  # how many tokens an expert takes depends on how many are read at once
            wanted["cached"] = _read_pieces(
                partial(read, params), cases["padded"], caches.empty(reference, _ROWS, _LONGEST)
            )
    with _exported(directory) as model:
        found = {name: _read(model, case) for name, case in cases.items()}
        found["cached"] = _read_cached(model, cases["padded"])
    cases["cached"] = cases["padded"]
    return {name: _difference(found[name], wanted[name], case.segments_BT > 0) for name, case in cases.items()}


def _cases(cfg: ModelConfig, rng: np.random.Generator) -> dict[str, Case]:
    t = min(_LONGEST, cfg.max_seq_len)
    tokens_BT = rng.integers(0, cfg.vocab_size, (_ROWS, t), np.int32)
    count_BT = np.tile(np.arange(t, dtype=np.int32), (_ROWS, 1))
    ones_BT = np.ones_like(tokens_BT)
    padding_B1 = np.asarray([[0], [t // 4], [t // 2]], np.int32)
    cuts_B1 = np.asarray([[t // 3], [t // 2], [t]], np.int32)
    furthest = cfg.max_seq_len - t if cfg.position_embedding == "learned" else cfg.max_seq_len - t // 2
    return {
        "tokens": Case(tokens_BT, ones_BT, count_BT),
        "padded": Case(tokens_BT, ones_BT * (count_BT >= padding_B1), np.maximum(count_BT - padding_B1, 0)),
        "packed": Case(tokens_BT, 1 + (count_BT >= cuts_B1), count_BT - cuts_B1 * (count_BT >= cuts_B1)),
        "distant": Case(tokens_BT, ones_BT, count_BT + furthest),
    }


def _difference(found_BTV: np.ndarray, wanted_BTV: np.ndarray, counted_BT: np.ndarray) -> float:
    off = np.abs(found_BTV - wanted_BTV)[counted_BT].max()
    return float(off / np.abs(wanted_BTV)[counted_BT].max())


def _read(model: Any, case: Case) -> np.ndarray:
    import torch

    tokens, segments, positions = (torch.from_numpy(a.astype(np.int64)) for a in case)
    with torch.no_grad():
        return model(tokens, position_ids=positions, segment_ids=segments).logits.numpy()


def _read_pieces(read: Callable[[Case, Cache | None], Output], case: Case, cache: Cache | None) -> np.ndarray:
    parts = []
    for piece in _pieces(case.tokens_BT.shape[1]):
        output = read(Case(*(a[:, piece] for a in case)), cache)
        cache = output.cache
        parts.append(np.asarray(output.logits_BTV))
    return np.concatenate(parts, axis=1)


def _pieces(t: int) -> Iterator[slice]:
    """Yields the first half, then one place at a time, as `generate` reads."""
    yield slice(0, max(1, t // 2))
    for start in range(max(1, t // 2), t):
        yield slice(start, start + 1)


def _read_cached(model: Any, case: Case) -> np.ndarray:
    """Reads left-padded rows with nothing but a mask to tell them by."""
    import torch

    tokens, mask = (torch.from_numpy(a.astype(np.int64)) for a in case[:2])
    cache, parts = None, []
    with torch.no_grad():
        for piece in _pieces(tokens.shape[1]):
            output = model(
                tokens[:, piece], attention_mask=mask[:, : piece.stop], past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            parts.append(output.logits.numpy())
    return np.concatenate(parts, axis=1)


@contextmanager
def _exported(directory: Path) -> Iterator[Any]:
    """Yields the model of an exported directory, made by the code that lies there."""
    from transformers.utils import logging

    module = _load(directory)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield module.LmForCausalLM.from_pretrained(str(directory), local_files_only=True).float().eval()
    finally:
        if shown:
            logging.enable_progress_bar()
        del sys.modules[module.__name__]


def _load(directory: Path) -> ModuleType:
    """Imports the directory's module under a name of its own, leaving no byte code beside it."""
    path = directory / "modeling_lm.py"
    module = ModuleType(f"exported_{attempt_id()}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # transformers looks up where a class is from
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), module.__dict__)
    return module
