"""StarCoder2 (Lozhkov et al., 2024): LayerNorm, an MLP without a gate, biases everywhere, a window in every layer."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families.llama import ATTENTION, EMBED, HEAD, IGNORED, has_mlp_bias, read_body, write_body
from lm.convert.hf.families.parts import PLAIN, biased
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import ModelConfig

EPSILON = "norm_epsilon"
ENTRIES = (
    EMBED,
    *biased("model.norm", "final_norm", matrix="scale"),
    HEAD,
    *biased("model.layers.{i}.input_layernorm", "layers.{i}.mixer_norm", matrix="scale"),
    *biased("model.layers.{i}.post_attention_layernorm", "layers.{i}.mlp_norm", matrix="scale"),
    *ATTENTION,
    *biased("model.layers.{i}.mlp.c_fc", "layers.{i}.mlp.up", when=has_mlp_bias),
    *biased("model.layers.{i}.mlp.c_proj", "layers.{i}.mlp.down", when=has_mlp_bias),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    activation = ("hidden_act", "gelu_pytorch_tanh")
    body = read_body(settings, epsilon=(EPSILON, 1e-5), activations=PLAIN, activation=activation, tied=True)
    settings.drop("norm_type", "mlp_type", "embedding_dropout", "residual_dropout")
    bias = settings.flag("use_bias", True)
    return ModelConfig(
        **body,
        mlp_bias=bias,
        norm="layer",
        norm_bias=True,
        window=settings.integer("sliding_window", 0),
        qkv_bias=bias,
        o_bias=bias,
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_body(cfg, epsilon=EPSILON, activations=PLAIN),
        "use_bias": cfg.qkv_bias,
        "sliding_window": cfg.layers[0].window or None,
    }


FAMILY = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
