"""Qwen 1.5 and 2 with experts (Yang et al., 2024), beside one that every token goes to through a gate of its own."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import experts, llama, parts, qwen3_moe
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

_WINDOW, _SLIDING_LAYERS = 4096, 28  # where the file says nothing


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = llama.read_shape(settings)
    slides = settings.flag("use_sliding_window", False)
    window = settings.nullable("sliding_window", _WINDOW) if slides else None
    settings.drop("sliding_window")
    last = settings.integer("max_window_layers", _SLIDING_LAYERS)
    types = [parts.SLIDING if window and i % 2 == 0 and i < last else parts.FULL for i in range(shape["n_layers"])]
    shared = settings.integer("shared_expert_intermediate_size", least=1)
    return ModelConfig(
        **shape,
        moe=qwen3_moe.read_moe(settings, shape["n_layers"], shared_d_ff=shared, shared_gate=True),
        rope=rope.read(settings, shape["max_seq_len"]),
        window=parts.read_windows(settings, types, window or 0),
        qkv_bias=settings.flag("qkv_bias", True),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **llama.write_shape(cfg),
        **rope.write(cfg),
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
