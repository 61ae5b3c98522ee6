"""Phi-3 and Phi-4 (Abdin et al., 2024): a Llama with queries, keys and values in one matrix, gate and up in another."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import fused, linear
from lm.convert.hf.families.llama import ENDS, IGNORED, NORMS, read_body, write_body
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

ENTRIES = (
    *ENDS,
    *NORMS,
    Entry(
        "model.layers.{i}.self_attn.qkv_proj.weight",
        tuple(f"layers.{{i}}.mixer.{name}.kernel" for name in "qkv"),
        fused(linear),
    ),
    Entry("model.layers.{i}.self_attn.o_proj.weight", "layers.{i}.mixer.o.kernel"),
    Entry(
        "model.layers.{i}.mlp.gate_up_proj.weight",
        ("layers.{i}.mlp.gate.kernel", "layers.{i}.mlp.up.kernel"),
        fused(linear),
    ),
    Entry("model.layers.{i}.mlp.down_proj.weight", "layers.{i}.mlp.down.kernel"),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect("attention_bias", False)
    body = read_body(settings, epsilon=("rms_norm_eps", 1e-5))
    return ModelConfig(**body, window=settings.integer("sliding_window", 0))


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {**write_body(cfg, partial=True), "sliding_window": cfg.layers[0].window or None}


FAMILY = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
