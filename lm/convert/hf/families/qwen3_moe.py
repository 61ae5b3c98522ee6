"""Qwen 3 with experts (Yang et al., 2025), in all layers or in some."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import experts, llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, Moe


def read_moe(settings: Settings, n_layers: int, **more: Any) -> Moe:
    """Reads the sizes of the experts and which layers have them; `more` are further keys of `Moe`."""
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
    """Returns the keys that `read_moe` reads."""
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
    body = llama.read_body(settings)
    settings.drop("max_window_layers")  # which their code does not read
    return ModelConfig(
        **body,
        **parts.read_biases(settings),
        moe=read_moe(settings, body["n_layers"]),
        window=parts.read_switched_window(settings),
        qk_norm="head",
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    window = cfg.layers[0].window
    return {
        **llama.write_body(cfg),
        **parts.write_biases(cfg),
        **write_moe(cfg),
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
