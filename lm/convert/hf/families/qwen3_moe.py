"""Qwen 3 with experts (Yang et al., 2025), in all layers or in some."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import experts, llama
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, Moe

_WINDOW = 4096  # where the file says nothing


def read_moe(settings: Settings, n_layers: int, **more: Any) -> Moe:
    """Takes the sizes of the experts and which layers have them; `more` are further keys of `Moe`."""
    settings.drop(*experts.TRAINING)
    n_experts = settings.integer("num_experts", settings.integer("num_local_experts", 0), least=1)
    return Moe(
        **experts.read_layers(settings, n_layers, n_experts),
        top_k=settings.integer("num_experts_per_tok"),
        d_ff=settings.integer("moe_intermediate_size"),
        normalise=settings.flag("norm_topk_prob", False),
        **more,
    )


def write_moe(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the keys that `read_moe` takes."""
    return {
        **experts.write_layers(cfg),
        "num_experts_per_tok": cfg.moe.top_k,
        "moe_intermediate_size": cfg.moe.d_ff or cfg.d_ff,
        "norm_topk_prob": cfg.moe.normalise,
    }


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = llama.read_shape(settings)
    bias = settings.flag("attention_bias", False)
    slides, window = settings.flag("use_sliding_window", False), settings.nullable("sliding_window", _WINDOW)
    settings.drop("max_window_layers")  # which their code does not read
    return ModelConfig(
        **shape,
        moe=read_moe(settings, shape["n_layers"]),
        rope=rope.read(settings, shape["max_seq_len"]),
        window=window if slides and window else 0,
        qkv_bias=bias,
        o_bias=bias,
        qk_norm="head",
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    window = cfg.layers[0].window
    return {
        **llama.write_shape(cfg),
        **rope.write(cfg),
        **write_moe(cfg),
        "attention_bias": cfg.qkv_bias and cfg.o_bias,
        "use_sliding_window": window > 0,
        "sliding_window": window or None,
    }


FAMILY = Family(
    model_type="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.QK_NORMS, *experts.DENSE, *experts.EXPERTS),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
