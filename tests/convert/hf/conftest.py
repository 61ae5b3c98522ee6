"""A small model of random parameters, and the checkpoint that is written of it."""

from __future__ import annotations

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lm.convert import hf
from lm.model import cost
from lm.model.config import ModelConfig


def random_params(cfg: ModelConfig, seed: int = 0) -> Any:
    """Returns a float32 parameter tree whose every number is different from its start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), cost.parameter_shapes(cfg))


def same(a: Any, b: Any) -> bool:
    """Says whether two parameter trees are the same bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def published(table: str) -> list[list[str]]:
    """Returns the cells of each row of one of the tables that the handbook shows."""
    lines = (Path(__file__).parents[3] / "docs" / "tables" / table).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]


@lru_cache
def specimen(name: str) -> dict[str, Any]:
    """Returns the config of one of `benchmarks.hf_specimens` as Hugging Face writes it; not to be changed."""
    from transformers import AutoConfig

    from benchmarks import hf_specimens

    one = hf_specimens.SPECIMENS[name]
    values = {key: value for key, value in {**hf_specimens._SMALL, **one.values}.items() if value is not None}
    found: dict[str, Any] = json.loads(AutoConfig.for_model(one.model_type, **values).to_json_string())
    return found


@pytest.fixture(scope="session")
def llama() -> ModelConfig:
    """A Llama whose widths are all different, with a head of its own."""
    shape = {"vocab_size": 61, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 24, "d_ff": 40}
    return ModelConfig(**shape, head_width=8, max_seq_len=32, tie_embeddings=False)


@pytest.fixture(scope="session")
def written(llama: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That Llama as Hugging Face has it; not to be changed."""
    folder = tmp_path_factory.mktemp("written") / "checkpoint"
    hf.write(llama, random_params(llama), folder)
    return folder


@pytest.fixture
def checkpoint(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(written, tmp_path / "checkpoint")
