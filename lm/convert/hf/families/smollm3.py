"""SmolLM3 (Hugging Face, 2025): a Llama without RoPE in every fourth layer."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families import llama, parts
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig, pattern


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = llama.read_body(settings, theta=2e6, tied=True)
    n, every = body["n_layers"], settings.integer("no_rope_layer_interval", 4, least=1)
    # 1 where there is RoPE:
    rotated = settings.items("no_rope_layers", (0, 1), [int((i + 1) % every != 0) for i in range(n)], count=n)
    slides, window = settings.flag("use_sliding_window", False), settings.integer("sliding_window", 0)
    types = [parts.SLIDING if slides and window and not turned else parts.FULL for turned in rotated]
    settings.drop("max_window_layers")
    return ModelConfig(
        **body,
        **parts.read_biases(settings),
        mlp_bias=settings.flag("mlp_bias", False),
        window=parts.read_windows(settings, types, window),
        position=pattern(["rope" if turned else "none" for turned in rotated]),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **llama.write_config(cfg),
        **parts.write_windows(cfg),
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
