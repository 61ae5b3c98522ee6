"""StarCoder2 (Lozhkov et al., 2024): LayerNorm, an MLP without a gate, biases everywhere, a window in every layer."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.codecs import copy
from lm.convert.hf.families.llama import (
    ATTENTION,
    IGNORED,
    has_head,
    has_mlp_bias,
    read_shape,
    write_shape,
)
from lm.convert.hf.families.parts import PLAIN, biased
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

EPSILON = "norm_epsilon"
ENTRIES = (
    Entry("model.embed_tokens.weight", "embed.table", copy),
    *biased("model.norm", "final_norm", matrix="scale"),
    Entry("lm_head.weight", "head.kernel", when=has_head),
    *biased("model.layers.{i}.input_layernorm", "layers.{i}.mixer_norm", matrix="scale"),
    *biased("model.layers.{i}.post_attention_layernorm", "layers.{i}.mlp_norm", matrix="scale"),
    *ATTENTION,
    *biased("model.layers.{i}.mlp.c_fc", "layers.{i}.mlp.up", when=has_mlp_bias),
    *biased("model.layers.{i}.mlp.c_proj", "layers.{i}.mlp.down", when=has_mlp_bias),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = read_shape(
        settings, epsilon=(EPSILON, 1e-5), activations=PLAIN, activation=("hidden_act", "gelu_pytorch_tanh")
    )
    settings.drop("norm_type", "mlp_type", "embedding_dropout", "residual_dropout")
    bias = settings.flag("use_bias", True)
    return ModelConfig(
        **shape,
        mlp_bias=bias,
        norm="layer",
        norm_bias=True,
        window=settings.integer("sliding_window", 0),
        qkv_bias=bias,
        o_bias=bias,
        rope=rope.read(settings, shape["max_seq_len"]),
        tie_embeddings=settings.flag("tie_word_embeddings", True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_shape(cfg, epsilon=EPSILON, activations=PLAIN),
        **rope.write(cfg),
        "use_bias": cfg.qkv_bias,
        "sliding_window": cfg.layers[0].window or None,
    }


FAMILY = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
