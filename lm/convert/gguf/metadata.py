"""What a GGUF says of a model beside its tensors: sizes, norms, windows, bounds, and how RoPE is stretched."""

from __future__ import annotations

from typing import Any

import numpy as np

from lm.convert.gguf.architectures import Architecture
from lm.convert.hf.families.parts import scale_of
from lm.convert.hf.rope import spread
from lm.model import rope
from lm.model.config import ModelConfig, Rope
from lm.model.widths import rotary_width


def add(writer: Any, cfg: ModelConfig, architecture: Architecture) -> None:
    """Adds the keys of the architecture, which must be one that fits, to a `gguf.GGUFWriter`."""
    _add_sizes(writer, cfg)
    if cfg.norm == "rms":
        writer.add_layer_norm_rms_eps(cfg.norm_epsilon)
    else:
        writer.add_layer_norm_eps(cfg.norm_epsilon)
    if any(layer.position == "rope" for layer in cfg.layers):
        _add_rope(writer, cfg)
    if architecture.slides and (windows := [layer for layer in cfg.layers if layer.window]):
        writer.add_sliding_window(windows[0].window)
        writer.add_rope_freq_base_swa(windows[0].theta)
    if cfg.attention_softcap:
        writer.add_attn_logit_softcapping(cfg.attention_softcap)
    if cfg.logit_softcap:
        writer.add_final_logit_softcapping(cfg.logit_softcap)
    if cfg.qkv_clip:
        writer.add_clamp_kqv(cfg.qkv_clip)
    if "logit_scale" in architecture.says:
        writer.add_attention_scale(scale_of(cfg))
        writer.add_embedding_scale(cfg.embedding_scale)
        writer.add_residual_scale(cfg.residual_scale)
        writer.add_logit_scale(1.0 / cfg.logit_scale)  # logits are divided by it


def rope_factors(cfg: ModelConfig) -> np.ndarray | None:
    """Returns what llama.cpp divides each pair's frequency by, float32 `[R]`; None where it knows the scaling itself.

    So is Llama 3's blend of long and short wavelengths said.
    """
    if cfg.rope.scaling != "llama3":
        return None
    width, first = rotary_width(cfg), cfg.layers[0]
    plain = rope.frequencies(Rope(), width, first.theta, 1.0).astype(np.float64)
    return (plain / rope.frequencies(cfg.rope, width, first.theta, first.factor)).astype(np.float32)


def _add_sizes(writer: Any, cfg: ModelConfig) -> None:
    writer.add_context_length(cfg.max_seq_len)
    writer.add_vocab_size(cfg.vocab_size)
    writer.add_block_count(cfg.n_layers)
    writer.add_embedding_length(cfg.d_model)
    writer.add_feed_forward_length(cfg.d_ff)
    writer.add_head_count(cfg.n_heads)
    writer.add_head_count_kv(cfg.n_kv_heads)
    writer.add_key_length(cfg.head_width)
    writer.add_value_length(cfg.head_width)


def _add_rope(writer: Any, cfg: ModelConfig) -> None:
    import gguf

    whole = next((layer for layer in cfg.layers if not layer.window), cfg.layers[0])
    writer.add_rope_dimension_count(rotary_width(cfg))
    writer.add_rope_freq_base(whole.theta)
    if cfg.rope.scaling not in ("linear", "yarn"):
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(cfg.rope.scaling))
    writer.add_rope_scaling_factor(whole.factor)
    if cfg.rope.scaling == "yarn":
        writer.add_rope_scaling_orig_ctx_len(cfg.rope.original_len)
        if cfg.rope.attention_factor:  # as a multiple of what YaRN itself would take
            writer.add_rope_scaling_attn_factors(cfg.rope.attention_factor / spread(whole.factor))
