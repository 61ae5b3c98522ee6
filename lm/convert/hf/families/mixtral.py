"""Mixtral (Jiang et al., 2024): Mistral with experts, whose two best share a token by their softmax."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import linear, stacked
from lm.convert.hf.families import experts, llama
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig, Moe

_THETA = 1e6  # where the file says nothing


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.drop(*experts.TRAINING)
    return ModelConfig(
        **llama.read_body(settings, epsilon=("rms_norm_eps", 1e-5), theta=_THETA),
        moe=Moe(settings.integer("num_local_experts", 8, least=1), settings.integer("num_experts_per_tok", 2)),
        window=settings.integer("sliding_window", 0),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config, in which the MLP's width is the experts'."""
    return {
        **llama.write_body(cfg),
        "intermediate_size": cfg.moe.d_ff or cfg.d_ff,
        "num_local_experts": cfg.layers[0].n_experts,
        "num_experts_per_tok": cfg.moe.top_k,
        "sliding_window": cfg.layers[0].window or None,
    }


FAMILY = Family(
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    entries=(
        *llama.ENDS,
        *llama.NORMS,
        *llama.ATTENTION,
        *experts.gated("block_sparse_moe.experts.{e}.", "moe.expert_", stacked(linear), names=("w1", "w3", "w2")),
        Entry("model.layers.{i}.block_sparse_moe.gate.weight", "layers.{i}.moe.router.kernel"),
    ),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
