"""OLMo (Groeneveld et al., 2024): LayerNorm without scale or bias; queries, keys and values kept within bounds."""

from __future__ import annotations

from typing import Any

from lm.convert.hf import rope
from lm.convert.hf.codecs import copy
from lm.convert.hf.families.llama import ATTENTION, IGNORED, MLP, has_head, read_shape, write_shape
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

EPSILON = "layer_norm_eps"  # not in their files: their code has 1e-5
ENDS = (
    Entry("model.embed_tokens.weight", "embed.table", copy),
    Entry("lm_head.weight", "head.kernel", when=has_head),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect(EPSILON, 1e-5)
    shape = read_shape(settings, epsilon=(EPSILON, 1e-5))
    bias = settings.flag("attention_bias", False)
    return ModelConfig(
        **shape,
        norm="layer",
        norm_scale="none",
        qkv_bias=bias,
        o_bias=bias,
        qkv_clip=settings.number("clip_qkv", 0.0),
        rope=rope.read(settings, shape["max_seq_len"]),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_shape(cfg, epsilon=EPSILON),
        **rope.write(cfg),
        "attention_bias": cfg.qkv_bias and cfg.o_bias,
        "clip_qkv": cfg.qkv_clip or None,
    }


FAMILY = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    entries=(*ENDS, *ATTENTION, *MLP),
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
