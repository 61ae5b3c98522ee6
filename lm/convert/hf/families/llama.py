"""Llama 2 and 3 (Touvron et al., 2023; Grattafiori et al., 2024), and all that are built like them, as SmolLM is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.codecs import copy
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import Layer, ModelConfig

ACTIVATIONS = {"silu": "swiglu", "swish": "swiglu", "gelu": "geglu", "relu": "reglu", "gelu_pytorch_tanh": "geglu_tanh"}


def has_qkv_bias(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether queries, keys and values have biases."""
    return cfg.qkv_bias


def has_o_bias(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether attention's output has a bias."""
    return cfg.o_bias


def has_mlp_bias(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the feed-forward layers have biases."""
    return cfg.mlp_bias


def has_head(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the head is its own."""
    return not cfg.tie_embeddings


# Parts of the table that families built like Llama share.
ENDS = (
    Entry("model.embed_tokens.weight", "embed.table", copy),
    Entry("model.norm.weight", "final_norm.scale"),
    Entry("lm_head.weight", "head.kernel", when=has_head),
)
NORMS = (
    Entry("model.layers.{i}.input_layernorm.weight", "layers.{i}.mixer_norm.scale"),
    Entry("model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.mlp_norm.scale"),
)
ATTENTION = (
    Entry("model.layers.{i}.self_attn.q_proj.weight", "layers.{i}.mixer.q.kernel"),
    Entry("model.layers.{i}.self_attn.k_proj.weight", "layers.{i}.mixer.k.kernel"),
    Entry("model.layers.{i}.self_attn.v_proj.weight", "layers.{i}.mixer.v.kernel"),
    Entry("model.layers.{i}.self_attn.o_proj.weight", "layers.{i}.mixer.o.kernel"),
    Entry("model.layers.{i}.self_attn.q_proj.bias", "layers.{i}.mixer.q.bias", when=has_qkv_bias),
    Entry("model.layers.{i}.self_attn.k_proj.bias", "layers.{i}.mixer.k.bias", when=has_qkv_bias),
    Entry("model.layers.{i}.self_attn.v_proj.bias", "layers.{i}.mixer.v.bias", when=has_qkv_bias),
    Entry("model.layers.{i}.self_attn.o_proj.bias", "layers.{i}.mixer.o.bias", when=has_o_bias),
)
MLP = (
    Entry("model.layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.gate.kernel"),
    Entry("model.layers.{i}.mlp.up_proj.weight", "layers.{i}.mlp.up.kernel"),
    Entry("model.layers.{i}.mlp.down_proj.weight", "layers.{i}.mlp.down.kernel"),
    Entry("model.layers.{i}.mlp.gate_proj.bias", "layers.{i}.mlp.gate.bias", when=has_mlp_bias),
    Entry("model.layers.{i}.mlp.up_proj.bias", "layers.{i}.mlp.up.bias", when=has_mlp_bias),
    Entry("model.layers.{i}.mlp.down_proj.bias", "layers.{i}.mlp.down.bias", when=has_mlp_bias),
)
QK_NORMS = (
    Entry("model.layers.{i}.self_attn.q_norm.weight", "layers.{i}.mixer.q_norm.scale"),
    Entry("model.layers.{i}.self_attn.k_norm.weight", "layers.{i}.mixer.k_norm.scale"),
)
IGNORED = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)


def read_shape(
    settings: Settings,
    *,
    epsilon: tuple[str, float] = ("rms_norm_eps", 1e-6),
    activations: Mapping[str, str] = ACTIVATIONS,
    activation: tuple[str, str] = ("hidden_act", "silu"),
    head_width: int | None = None,
) -> dict[str, Any]:
    """Takes the sizes that families built like Llama spell alike, and returns them under our names.

    `epsilon` and `activation` are those keys' names and what holds without them; `head_width` is a family's own where
    the file has no `head_dim`.
    """
    heads, width = settings.integer("num_attention_heads", least=1), settings.integer("hidden_size")
    return {
        "vocab_size": settings.integer("vocab_size"),
        "n_layers": settings.integer("num_hidden_layers", least=1),
        "n_heads": heads,
        "n_kv_heads": settings.integer("num_key_value_heads", heads),
        "d_model": width,
        "d_ff": settings.integer("intermediate_size"),
        "head_width": settings.integer("head_dim", head_width or width // heads),
        "max_seq_len": settings.integer("max_position_embeddings"),
        "norm_epsilon": settings.number(*epsilon),
        "mlp": settings.choice(activation[0], activations, activation[1]),
    }


def write_shape(
    cfg: ModelConfig,
    *,
    epsilon: str = "rms_norm_eps",
    activations: Mapping[str, str] = ACTIVATIONS,
    activation: str = "hidden_act",
) -> dict[str, Any]:
    """Returns the sizes under their names; for an activation that the format lacks, the first that it has."""
    names = {ours: theirs for theirs, ours in reversed([*activations.items()])}
    return {
        "vocab_size": cfg.vocab_size,
        "num_hidden_layers": cfg.n_layers,
        "num_attention_heads": cfg.n_heads,
        "num_key_value_heads": cfg.n_kv_heads,
        "hidden_size": cfg.d_model,
        "intermediate_size": cfg.d_ff,
        "head_dim": cfg.head_width,
        "max_position_embeddings": cfg.max_seq_len,
        epsilon: cfg.norm_epsilon,
        activation: names.get(cfg.layers[0].mlp, next(iter(activations))),
        "tie_word_embeddings": cfg.tie_embeddings,
    }


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = read_shape(settings)
    bias = settings.flag("attention_bias", False)
    return ModelConfig(
        **shape,
        rope=rope.read(settings, shape["max_seq_len"]),
        qkv_bias=bias,
        o_bias=bias,
        mlp_bias=settings.flag("mlp_bias", False),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_shape(cfg),
        **rope.write(cfg),
        "attention_bias": cfg.qkv_bias and cfg.o_bias,
        "mlp_bias": cfg.mlp_bias,
    }


FAMILY = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    entries=(*ENDS, *NORMS, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
