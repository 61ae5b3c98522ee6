"""SmolLM3 (Hugging Face, 2025): a Llama without RoPE in every fourth layer."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.families import llama
from lm.convert.hf.families.llama import read_shape
from lm.convert.hf.families.parts import FULL, SLIDING, read_windows, write_windows
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, pattern


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    shape = read_shape(settings)
    n, bias = shape["n_layers"], settings.flag("attention_bias", False)
    every = settings.integer("no_rope_layer_interval", 4)
    rotated = settings.take("no_rope_layers", [int((i + 1) % every != 0) for i in range(n)])  # 1 where there is RoPE
    if len(rotated) != n:
        raise settings.refusal("no_rope_layers", rotated, f"num_hidden_layers={n} numbers are expected")
    slides, window = settings.flag("use_sliding_window", False), settings.integer("sliding_window", 0)
    types = [SLIDING if slides and window and not turned else FULL for turned in rotated]
    settings.drop("max_window_layers")
    rotation = rope.read(settings, shape["max_seq_len"], theta=2e6)
    return ModelConfig(
        **shape,
        window=read_windows(settings, types, window),
        position=pattern(["rope" if turned else "none" for turned in rotated]),
        rope=rotation,
        qkv_bias=bias,
        o_bias=bias,
        mlp_bias=settings.flag("mlp_bias", False),
        tie_embeddings=settings.flag("tie_word_embeddings", True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **llama.write_config(cfg),
        **write_windows(cfg),
        "use_sliding_window": any(layer.window for layer in cfg.layers),
        "no_rope_layers": [int(layer.position == "rope") for layer in cfg.layers],
    }


FAMILY = Family(
    model_type="smollm3",
    architecture="SmolLM3ForCausalLM",
    entries=llama.FAMILY.entries,
    read_config=read_config,
    write_config=write_config,
    ignored=llama.IGNORED,
)
