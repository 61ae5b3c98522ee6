"""Qwen 1.5 and 2 with experts (Yang et al., 2024), beside one that every token goes to through a gate of its own."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import experts, llama, parts, qwen3_moe
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

_SLIDING_LAYERS = 28  # where the file says nothing


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = llama.read_body(settings)
    window = parts.read_switched_window(settings)
    last = settings.integer("max_window_layers", _SLIDING_LAYERS)
    types = [parts.SLIDING if window and i % 2 == 0 and i < last else parts.FULL for i in range(body["n_layers"])]
    shared = settings.integer("shared_expert_intermediate_size", least=1)
    return ModelConfig(
        **body,
        moe=qwen3_moe.read_moe(settings, body["n_layers"], shared_d_ff=shared, shared_gate=True),
        window=parts.read_windows(settings, types, window),
        qkv_bias=settings.flag("qkv_bias", True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **llama.write_body(cfg),
        **qwen3_moe.write_moe(cfg),
        **parts.write_windows(cfg),
        "use_sliding_window": any(layer.window for layer in cfg.layers),
        "shared_expert_intermediate_size": cfg.moe.shared_d_ff,
        "qkv_bias": cfg.qkv_bias,
    }


FAMILY = Family(
    model_type="qwen2_moe",
    architecture="Qwen2MoeForCausalLM",
    entries=(
        *llama.ENDS,
        *llama.NORMS,
        *llama.ATTENTION,
        *experts.DENSE,
        *experts.EXPERTS,
        *experts.gated("mlp.shared_expert.", "moe.shared."),
        Entry(
            "model.layers.{i}.mlp.shared_expert_gate.weight", "layers.{i}.moe.shared_gate.kernel", when=experts.routes
        ),
    ),
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
