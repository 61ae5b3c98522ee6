"""GPT-NeoX and Pythia (Black et al., 2022; Biderman et al., 2023): parallel branches, one matrix for all heads."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.codecs import by_head, copy
from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import has_head, has_o_bias, has_qkv_bias
from lm.convert.hf.families.parts import biased
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

_LAYER, _QKV = "gpt_neox.layers.{i}", "layers.{i}.mixer."
ENTRIES = (
    Entry("gpt_neox.embed_in.weight", "embed.table", copy),
    *biased("gpt_neox.final_layer_norm", "final_norm", matrix="scale"),
    Entry("embed_out.weight", "head.kernel", when=has_head),
    *biased(f"{_LAYER}.input_layernorm", "layers.{i}.mixer_norm", matrix="scale"),
    *biased(f"{_LAYER}.post_attention_layernorm", "layers.{i}.mlp_norm", matrix="scale"),
    Entry(f"{_LAYER}.attention.query_key_value.weight", tuple(f"{_QKV}{name}.kernel" for name in "qkv"), by_head),
    Entry(
        f"{_LAYER}.attention.query_key_value.bias",
        tuple(f"{_QKV}{name}.bias" for name in "qkv"),
        by_head,
        when=has_qkv_bias,
    ),
    *biased(f"{_LAYER}.attention.dense", "layers.{i}.mixer.o", when=has_o_bias),
    *biased(f"{_LAYER}.mlp.dense_h_to_4h", "layers.{i}.mlp.up"),
    *biased(f"{_LAYER}.mlp.dense_4h_to_h", "layers.{i}.mlp.down"),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    sizes = parts.read_sizes(settings)
    theta, fraction = settings.number("rotary_emb_base", 10_000.0), settings.number("rotary_pct", 0.25)
    settings.drop("is_decoder")
    return ModelConfig(
        **sizes,
        **parts.plain_heads(sizes),
        **parts.read_biases(settings, True),
        mlp=settings.choice("hidden_act", parts.PLAIN, "gelu"),
        mlp_bias=True,
        norm="layer",
        norm_bias=True,
        norm_epsilon=settings.number("layer_norm_eps", 1e-5),
        residual="parallel" if settings.flag("use_parallel_residual", True) else "sequential",
        rope=rope.read(settings, sizes["max_seq_len"], theta=theta, fraction=fraction),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    rotation = rope.write(cfg, partial=True)
    return {
        **parts.write_sizes(cfg),
        **parts.write_biases(cfg),
        "hidden_act": parts.spelling(parts.PLAIN, cfg.layers[0].mlp),
        "layer_norm_eps": cfg.norm_epsilon,
        "use_parallel_residual": cfg.residual == "parallel",
        "rotary_emb_base": rotation["rope_theta"],
        "rotary_pct": rotation["partial_rotary_factor"],
        "rope_scaling": rotation["rope_scaling"],
        "tie_word_embeddings": cfg.tie_embeddings,
    }


FAMILY = Family(
    model_type="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=(r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",),
    tied={"embed_out.weight": "gpt_neox.embed_in.weight"},
    prefix="gpt_neox.",
)
