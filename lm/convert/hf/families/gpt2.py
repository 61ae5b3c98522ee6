"""GPT-2 (Radford et al., 2019): learned positions, LayerNorm, biases everywhere, queries, keys and values in one."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import conv1d, copy, fused
from lm.convert.hf.families.llama import HEAD
from lm.convert.hf.families.parts import PLAIN, biased, plain_heads, read_sizes, spelling, write_sizes
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

SIZES = {
    "vocab_size": "vocab_size",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "d_model": "n_embd",
    "max_seq_len": "n_positions",
}
_LAYER = "transformer.h.{i}"
_QKV_KERNELS = tuple(f"layers.{{i}}.mixer.{name}.kernel" for name in "qkv")
_QKV_BIASES = tuple(f"layers.{{i}}.mixer.{name}.bias" for name in "qkv")
ENTRIES = (
    Entry("transformer.wte.weight", "embed.table", copy),
    Entry("transformer.wpe.weight", "embed.positions", copy),
    *biased("transformer.ln_f", "final_norm", matrix="scale"),
    HEAD,
    *biased(f"{_LAYER}.ln_1", "layers.{i}.mixer_norm", matrix="scale"),
    Entry(f"{_LAYER}.attn.c_attn.weight", _QKV_KERNELS, fused(conv1d, axis=1)),
    Entry(f"{_LAYER}.attn.c_attn.bias", _QKV_BIASES, fused(conv1d)),
    *biased(f"{_LAYER}.attn.c_proj", "layers.{i}.mixer.o", conv1d),
    *biased(f"{_LAYER}.ln_2", "layers.{i}.mlp_norm", matrix="scale"),
    *biased(f"{_LAYER}.mlp.c_fc", "layers.{i}.mlp.up", conv1d),
    *biased(f"{_LAYER}.mlp.c_proj", "layers.{i}.mlp.down", conv1d),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    sizes = read_sizes(settings, SIZES, vocab_size=50257, n_layers=12, n_heads=12, d_model=768, max_seq_len=1024)
    settings.drop("n_ctx", "reorder_and_upcast_attn")  # the same as n_positions; how half precision is computed
    settings.expect("scale_attn_by_inverse_layer_idx", False)
    settings.expect("add_cross_attention", False)
    scaled = settings.flag("scale_attn_weights", True)
    return ModelConfig(
        **sizes,
        **plain_heads(sizes),
        d_ff=settings.integer("n_inner", 4 * sizes["d_model"], least=1),
        mlp=settings.choice("activation_function", PLAIN, "gelu_new"),
        mlp_bias=True,
        norm="layer",
        norm_bias=True,
        norm_epsilon=settings.number("layer_norm_epsilon", 1e-5),
        qkv_bias=True,
        o_bias=True,
        attention_scale=0.0 if scaled else 1.0,
        position="none",
        position_embedding="learned",
        tie_embeddings=settings.flag("tie_word_embeddings", True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_sizes(cfg, SIZES),
        "n_inner": cfg.d_ff,
        "activation_function": spelling(PLAIN, cfg.layers[0].mlp),
        "layer_norm_epsilon": cfg.norm_epsilon,
        "scale_attn_weights": cfg.attention_scale != 1.0,
        "tie_word_embeddings": cfg.tie_embeddings,
    }


FAMILY = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",),  # the causal mask
    tied={"lm_head.weight": "transformer.wte.weight"},
    prefix="transformer.",
)
