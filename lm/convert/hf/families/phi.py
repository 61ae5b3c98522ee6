"""Phi-1, 1.5 and 2 (Gunasekar et al., 2023): both branches read one LayerNorm, half of each head is rotated."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families.llama import EMBED, IGNORED, read_body, write_body
from lm.convert.hf.families.parts import PLAIN, biased
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

EPSILON = "layer_norm_eps"
ENTRIES = (
    EMBED,
    *biased("model.final_layernorm", "final_norm", matrix="scale"),
    *biased("lm_head", "head"),
    *biased("model.layers.{i}.input_layernorm", "layers.{i}.mixer_norm", matrix="scale"),
    *biased("model.layers.{i}.self_attn.q_proj", "layers.{i}.mixer.q"),
    *biased("model.layers.{i}.self_attn.k_proj", "layers.{i}.mixer.k"),
    *biased("model.layers.{i}.self_attn.v_proj", "layers.{i}.mixer.v"),
    *biased("model.layers.{i}.self_attn.dense", "layers.{i}.mixer.o"),
    *biased("model.layers.{i}.mlp.fc1", "layers.{i}.mlp.up"),
    *biased("model.layers.{i}.mlp.fc2", "layers.{i}.mlp.down"),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect("qk_layernorm", False)
    settings.expect("tie_word_embeddings", False)  # the head has a bias
    activation = ("hidden_act", "gelu_new")
    body = read_body(settings, epsilon=(EPSILON, 1e-5), activations=PLAIN, activation=activation, fraction=0.5)
    return ModelConfig(
        **body,
        mlp_bias=True,
        norm="layer",
        norm_bias=True,
        residual="parallel_shared",
        qkv_bias=True,
        o_bias=True,
        head_bias=True,
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return write_body(cfg, partial=True, epsilon=EPSILON, activations=PLAIN)


FAMILY = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
