"""StableLM 2 (Bellagente et al., 2024): a Llama with LayerNorm, a quarter of each head rotated."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.families.llama import ATTENTION, EMBED, HEAD, IGNORED, MLP, read_body, write_body
from lm.convert.hf.families.parts import biased
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import Layer, ModelConfig

EPSILON = "layer_norm_eps"


def has_two_norms(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the MLP reads a norm of its own."""
    return cfg.residual == "sequential"


ENTRIES = (
    EMBED,
    *biased("model.norm", "final_norm", matrix="scale"),
    HEAD,
    *biased("model.layers.{i}.input_layernorm", "layers.{i}.mixer_norm", matrix="scale"),
    Entry("model.layers.{i}.post_attention_layernorm.weight", "layers.{i}.mlp_norm.scale", when=has_two_norms),
    Entry("model.layers.{i}.post_attention_layernorm.bias", "layers.{i}.mlp_norm.bias", when=has_two_norms),
    *ATTENTION,
    *MLP,
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect("qk_layernorm", False)
    body = read_body(settings, epsilon=(EPSILON, 1e-5), fraction=0.25)
    if body["head_width"] * body["n_heads"] != body["d_model"]:
        raise settings.refusal("head_dim", body["head_width"], "only hidden_size over num_attention_heads is supported")
    return ModelConfig(
        **body,
        norm="layer",
        norm_bias=True,
        residual="parallel_shared" if settings.flag("use_parallel_residual", False) else "sequential",
        qkv_bias=settings.flag("use_qkv_bias", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_body(cfg, partial=True, epsilon=EPSILON),
        "use_parallel_residual": cfg.residual == "parallel_shared",
        "use_qkv_bias": cfg.qkv_bias,
    }


FAMILY = Family(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
