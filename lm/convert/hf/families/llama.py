"""Llama 2 and 3 (Touvron et al., 2023; Grattafiori et al., 2024), and all that are built like them, as SmolLM is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.codecs import copy
from lm.convert.hf.families import parts
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
EMBED = Entry("model.embed_tokens.weight", "embed.table", copy)
HEAD = Entry("lm_head.weight", "head.kernel", when=has_head)
ENDS = (EMBED, Entry("model.norm.weight", "final_norm.scale"), HEAD)
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
    """Reads the sizes that families built like Llama spell alike, and returns them under our names.

    `epsilon` and `activation` are those keys' names and what holds without them; `head_width` is a family's own where
    the file has no `head_dim`.
    """
    sizes = parts.read_sizes(settings)
    heads, width = sizes["n_heads"], sizes["d_model"]
    return {
        **sizes,
        "n_kv_heads": settings.integer("num_key_value_heads", heads, least=1),
        "head_width": settings.integer("head_dim", head_width or width // heads),
        "norm_epsilon": settings.number(*epsilon),
        "mlp": settings.choice(activation[0], activations, activation[1]),
    }


def read_body(
    settings: Settings, *, theta: float = 10_000.0, fraction: float = 1.0, tied: bool = False, **spelt: Any
) -> dict[str, Any]:
    """Reads sizes, the rotation of all layers, and whether embeddings are tied; `spelt` is as for `read_shape`.

    `theta`, `fraction` and `tied` are the family's own where the file says nothing.
    """
    shape = read_shape(settings, **spelt)
    return {
        **shape,
        "rope": rope.read(settings, shape["max_seq_len"], theta=theta, fraction=fraction),
        "tie_embeddings": settings.flag("tie_word_embeddings", tied),
    }


def write_shape(
    cfg: ModelConfig,
    *,
    epsilon: str = "rms_norm_eps",
    activations: Mapping[str, str] = ACTIVATIONS,
    activation: str = "hidden_act",
) -> dict[str, Any]:
    """Returns the sizes under their names, and whether embeddings are tied."""
    return {
        **parts.write_sizes(cfg),
        "num_key_value_heads": cfg.n_kv_heads,
        "head_dim": cfg.head_width,
        epsilon: cfg.norm_epsilon,
        activation: parts.spelling(activations, cfg.layers[0].mlp),
        "tie_word_embeddings": cfg.tie_embeddings,
    }


def write_body(cfg: ModelConfig, *, partial: bool = False, **spelt: Any) -> dict[str, Any]:
    """Returns the keys that `read_body` reads; with `partial`, how much of each head is rotated."""
    return {**write_shape(cfg, **spelt), **rope.write(cfg, partial=partial)}


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = read_body(settings)
    return ModelConfig(**body, **parts.read_biases(settings), mlp_bias=settings.flag("mlp_bias", False))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_body(cfg), **parts.write_biases(cfg), "mlp_bias": cfg.mlp_bias}


FAMILY = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    entries=(*ENDS, *NORMS, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
