"""DiffLlama (Hugging Face, 2025): a Llama with differential attention (Ye et al., 2024), head i paired with i + H/2."""

from __future__ import annotations

from typing import Any

import numpy as np

from lm.convert.hf.codecs import Ours, constant, copy, linear, reordered, stacked
from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, NORMS, read_body, write_body
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

NORM_EPSILON = 1e-5  # where the file says nothing


def _pairs(one: Ours, cfg: ModelConfig) -> np.ndarray:
    """Returns where our heads stand there: 0, H/2, 1, H/2 + 1, …"""
    heads = one.shape[-2]
    return np.arange(heads).reshape(2, -1).T.ravel()


by_pair = reordered("paired heads", linear, _pairs, axis=-2)

_OURS = "layers.{i}.mixer."
PAIRED = tuple(
    Entry(entry.theirs, entry.ours, by_pair, entry.when) if ".mixer.o." not in entry.ours else entry
    for entry in ATTENTION
)
DIFFERENCE = (
    *(
        Entry(tuple(f"model.layers.{{i}}.self_attn.{name}{map_}" for map_ in (1, 2)), f"{_OURS}{name}", stacked(copy))
        for name in ("lambda_q", "lambda_k")
    ),
    Entry((), f"{_OURS}pair_norm.scale", constant(1.0)),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.drop("lambda_std_dev")
    body = read_body(settings, epsilon=("rms_norm_eps", NORM_EPSILON))
    return ModelConfig(**body, **parts.read_biases(settings), mixer="differential")


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_body(cfg), **parts.write_biases(cfg)}


FAMILY = Family(
    model_type="diffllama",
    architecture="DiffLlamaForCausalLM",
    entries=(*ENDS, *NORMS, *PAIRED, *DIFFERENCE, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
