"""RecurrentGemma (Botev et al., 2024), a Griffin: two gated linear recurrences, then attention through a window."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from lm.convert.hf import rope
from lm.convert.hf.codecs import copy, depthwise
from lm.convert.hf.families.llama import EMBED, HEAD, has_qkv_bias
from lm.convert.hf.families.parts import biased, read_sizes, write_sizes
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family, When
from lm.model.config import Layer, Mixer, ModelConfig, Recurrent, pattern
from lm.model.widths import recurrent_blocks, recurrent_width

_LAYER, _OURS = "model.layers.{i}.temporal_block", "layers.{i}.mixer"
KINDS: dict[str, Mixer] = {"recurrent": "linear", "attention": "attention"}


def attends(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the layer is one of attention."""
    return layer is not None and layer.attends


def recurs(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the layer is a recurrence."""
    return layer is not None and not layer.attends


def _biased_attention(cfg: ModelConfig, layer: Layer | None) -> bool:
    return attends(cfg, layer) and has_qkv_bias(cfg, layer)


def _attention() -> tuple[Entry, ...]:
    rows = []
    for part in "qkv":
        rows.append(Entry(f"{_LAYER}.{part}_proj.weight", f"{_OURS}.{part}.kernel", when=attends))
        rows.append(Entry(f"{_LAYER}.{part}_proj.bias", f"{_OURS}.{part}.bias", when=_biased_attention))
    return (*rows, *_both("o_proj", "o", attends))


def _both(theirs: str, ours: str, when: When) -> tuple[Entry, ...]:
    return tuple(replace(row, when=when) for row in biased(f"{_LAYER}.{theirs}", f"{_OURS}.{ours}"))


ENTRIES = (
    EMBED,
    Entry("model.final_norm.weight", "final_norm.scale"),
    HEAD,
    Entry("model.layers.{i}.temporal_pre_norm.weight", "layers.{i}.mixer_norm.scale"),
    Entry("model.layers.{i}.channel_pre_norm.weight", "layers.{i}.mlp_norm.scale"),
    *biased("model.layers.{i}.mlp_block.gate_proj", "layers.{i}.mlp.gate"),
    *biased("model.layers.{i}.mlp_block.up_proj", "layers.{i}.mlp.up"),
    *biased("model.layers.{i}.mlp_block.down_proj", "layers.{i}.mlp.down"),
    *_attention(),
    *_both("linear_x", "recurrent_in", recurs),
    *_both("linear_y", "recurrent_gate", recurs),
    *_both("linear_out", "recurrent_out", recurs),
    Entry(f"{_LAYER}.conv_1d.weight", f"{_OURS}.conv.kernel", depthwise, recurs),
    Entry(f"{_LAYER}.conv_1d.bias", f"{_OURS}.conv.bias", when=recurs),
    Entry(f"{_LAYER}.rg_lru.recurrent_param", f"{_OURS}.forget", when=recurs),
    Entry(f"{_LAYER}.rg_lru.input_gate_weight", f"{_OURS}.input_gate.kernel", copy, recurs),
    Entry(f"{_LAYER}.rg_lru.input_gate_bias", f"{_OURS}.input_gate.bias", copy, recurs),
    Entry(f"{_LAYER}.rg_lru.recurrent_gate_weight", f"{_OURS}.decay_gate.kernel", copy, recurs),
    Entry(f"{_LAYER}.rg_lru.recurrent_gate_bias", f"{_OURS}.decay_gate.bias", copy, recurs),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    sizes = read_sizes(settings, max_seq_len=8192)  # of text, as the published ones were trained
    width, heads = sizes["d_model"], sizes["n_heads"]
    settings.expect("head_dim", width // heads)
    settings.expect("hidden_activation", "gelu_pytorch_tanh")  # of the recurrence's gate too
    settings.drop("w_init_variance_scale", "final_w_init_variance_scale", "embeddings_scale_by_sqrt_dim")
    settings.drop("_block_types")
    kinds = settings.items("block_types", KINDS, ["recurrent", "recurrent", "attention"], least=1)
    mixers = [KINDS[kinds[i % len(kinds)]] for i in range(sizes["n_layers"])]
    attention: dict[str, Any] = {
        "window": settings.integer("attention_window_size", 2048),
        "qkv_bias": settings.flag("attention_bias", False),
        "o_bias": True,
        "rope": rope.read(settings, sizes["max_seq_len"], fraction=0.5),
    }
    recurrent = Recurrent(
        width=settings.integer("lru_width", width, least=1),
        conv_width=settings.integer("conv1d_width", 4, least=1),
        blocks=heads,
        bias=True,
    )
    own = {
        "n_kv_heads": settings.integer("num_key_value_heads", heads, least=1),
        "d_ff": sizes["d_ff"] // 2,
        "head_width": width // heads,
    }
    return ModelConfig(
        **(sizes | own),
        norm_epsilon=settings.number("rms_norm_eps", 1e-6),
        norm_scale="one_plus",
        mixer=pattern(mixers),
        mlp="geglu_tanh",
        mlp_bias=True,
        recurrent=recurrent if "linear" in mixers else Recurrent(),
        **(attention if "attention" in mixers else {}),
        embedding_scale=scale(width),
        tie_embeddings=settings.flag("tie_word_embeddings", True),
        logit_softcap=settings.number("logits_soft_cap", 30.0, least=0),
    )


def scale(width: int) -> float:
    """Returns what embeddings are multiplied by: the root of the width, which their code keeps in bfloat16."""
    return float(jnp.bfloat16(math.sqrt(width)))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    names: dict[str, str] = {ours: theirs for theirs, ours in KINDS.items()}
    kinds = [names.get(layer.mixer, "attention") for layer in cfg.layers]
    return {
        **write_sizes(cfg),
        "num_attention_heads": recurrent_blocks(cfg) if "recurrent" in kinds else cfg.n_heads,
        "num_key_value_heads": cfg.n_kv_heads,
        "intermediate_size": 2 * cfg.d_ff,
        "lru_width": recurrent_width(cfg, "linear"),
        "conv1d_width": cfg.recurrent.conv_width,
        "block_types": kinds,
        "attention_window_size": max(layer.window for layer in cfg.layers),
        "attention_bias": cfg.qkv_bias,
        "rms_norm_eps": cfg.norm_epsilon,
        "logits_soft_cap": cfg.logit_softcap,
        "tie_word_embeddings": cfg.tie_embeddings,
        **rope.write(cfg, partial=True),
    }


FAMILY = Family(
    model_type="recurrent_gemma",
    architecture="RecurrentGemmaForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
)
