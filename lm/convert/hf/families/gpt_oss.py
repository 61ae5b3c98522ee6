"""GPT-OSS (OpenAI, 2025): clamped experts with biases, attention with sinks, every other layer in a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lm.convert.hf import rope
from lm.convert.hf.codecs import Arrays, Codec, Ours, Shape, copy
from lm.convert.hf.families import experts, llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig, Moe, Rope
from lm.model.mlp import CLAMP, CLAMPED_SLOPE

_ACTIVATIONS = {"silu": "swiglu_clamped"}
_HEAD_WIDTH, _WINDOW, _THETA = 64, 128, 150_000.0  # where the file says nothing, as the stretch:
_ROPE = Rope(theta=_THETA, scaling="yarn", factor=32.0, original_len=4096, truncate=False)


def _shapes(ours: Sequence[Ours], cfg: ModelConfig) -> list[Shape]:
    *rest, width = ours[0].shape
    return [(*rest, 2 * width)]


def _read(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
    return [arrays[0][..., i::2] for i in range(2)]


def _write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
    return [np.stack(arrays, axis=-1).reshape(_shapes(ours, cfg)[0])]


# Gate and up in one tensor, unit by unit, inputs before outputs as ours.
alternating = Codec("alternating", _shapes, _read, _write)

_THEIRS = "model.layers.{i}.mlp."
EXPERTS = (
    Entry(f"{_THEIRS}router.weight", "layers.{i}.moe.router.kernel"),
    Entry(f"{_THEIRS}router.bias", "layers.{i}.moe.router.bias"),
    *(
        Entry(
            f"{_THEIRS}experts.gate_up_proj{ending}",
            tuple(f"layers.{{i}}.moe.expert_{name}.{leaf}" for name in ("gate", "up")),
            alternating,
        )
        for ending, leaf in (("", "kernel"), ("_bias", "bias"))
    ),
    Entry(f"{_THEIRS}experts.down_proj", "layers.{i}.moe.expert_down.kernel", copy),
    Entry(f"{_THEIRS}experts.down_proj_bias", "layers.{i}.moe.expert_down.bias", copy),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect("swiglu_limit", CLAMP)
    settings.expect("swiglu_alpha", CLAMPED_SLOPE)
    shape = llama.read_shape(settings, epsilon=("rms_norm_eps", 1e-5), activations=_ACTIVATIONS, head_width=_HEAD_WIDTH)
    settings.drop(*experts.TRAINING, "experts_per_token", "initial_context_length")
    types = [parts.FULL if i % 2 else parts.SLIDING for i in range(shape["n_layers"])]
    return ModelConfig(
        **shape,
        **parts.read_biases(settings, True),
        mlp_bias=True,
        moe=Moe(
            settings.integer("num_local_experts", 128), settings.integer("num_experts_per_tok", 4), router_bias=True
        ),
        rope=rope.read(settings, shape["max_seq_len"], theta=_THETA) if rope.keys(settings) else _ROPE,
        window=parts.read_windows(settings, types, settings.integer("sliding_window", _WINDOW, null=0)),
        attention_sinks=True,
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config, in which the MLP's width is the experts'."""
    return {
        **llama.write_body(cfg, activations=_ACTIVATIONS),
        **parts.write_biases(cfg),
        **parts.write_windows(cfg),
        "intermediate_size": cfg.moe.d_ff or cfg.d_ff,
        "num_local_experts": cfg.layers[0].n_experts,
        "num_experts_per_tok": cfg.moe.top_k,
        "swiglu_limit": CLAMP,
        "swiglu_alpha": CLAMPED_SLOPE,
    }


FAMILY = Family(
    model_type="gpt_oss",
    architecture="GptOssForCausalLM",
    entries=(
        *llama.ENDS,
        *llama.NORMS,
        *llama.ATTENTION,
        Entry("model.layers.{i}.self_attn.sinks", "layers.{i}.mixer.sinks", copy),
        *EXPERTS,
    ),
    read_config=read_config,
    write_config=write_config,
)
