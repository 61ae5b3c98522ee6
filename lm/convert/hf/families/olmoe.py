"""OLMoE (Muennighoff et al., 2024): many small experts, and norms of all queries and keys at once."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import experts, llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, Moe


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.drop(*experts.TRAINING)
    settings.expect("clip_qkv", None)  # theirs bounds what the norms write, ours what the norms read
    return ModelConfig(
        **llama.read_body(settings, epsilon=("rms_norm_eps", 1e-5)),
        **parts.read_biases(settings),
        moe=Moe(
            settings.integer("num_experts", 64, least=1),
            settings.integer("num_experts_per_tok", 8),
            normalise=settings.flag("norm_topk_prob", False),
        ),
        qk_norm="full",
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config, in which the MLP's width is the experts'."""
    return {
        **llama.write_body(cfg),
        **parts.write_biases(cfg),
        "intermediate_size": cfg.moe.d_ff or cfg.d_ff,
        "num_experts": cfg.layers[0].n_experts,
        "num_experts_per_tok": cfg.moe.top_k,
        "norm_topk_prob": cfg.moe.normalise,
    }


FAMILY = Family(
    model_type="olmoe",
    architecture="OlmoeForCausalLM",
    entries=(*llama.ENDS, *llama.NORMS, *llama.ATTENTION, *llama.QK_NORMS, *experts.EXPERTS),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
