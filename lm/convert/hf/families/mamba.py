"""Mamba (Gu & Dao, 2023): selective state spaces alone, no MLP between them."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import copy, depthwise, fused, linear
from lm.convert.hf.families.llama import HEAD
from lm.convert.hf.families.parts import SIZES, biased, read_sizes, write_sizes
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import Layer, ModelConfig, Recurrent
from lm.model.widths import recurrent_width, step_rank

_LAYER, _OURS = "backbone.layers.{i}.mixer", "layers.{i}.mixer"
_IN = (f"{_OURS}.recurrent_in", f"{_OURS}.recurrent_gate")

_SIZES = {ours: SIZES[ours] for ours in ("vocab_size", "n_layers", "d_model", "max_seq_len")}


def has_bias(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether the maps into and out of the recurrence have biases."""
    return cfg.recurrent.bias


ENTRIES = (
    Entry("backbone.embeddings.weight", "embed.table", copy),
    Entry("backbone.norm_f.weight", "final_norm.scale"),
    HEAD,
    Entry("backbone.layers.{i}.norm.weight", "layers.{i}.mixer_norm.scale"),
    Entry(f"{_LAYER}.in_proj.weight", tuple(f"{name}.kernel" for name in _IN), fused(linear)),
    Entry(f"{_LAYER}.in_proj.bias", tuple(f"{name}.bias" for name in _IN), fused(linear), has_bias),
    Entry(f"{_LAYER}.conv1d.weight", f"{_OURS}.conv.kernel", depthwise),
    Entry(f"{_LAYER}.conv1d.bias", f"{_OURS}.conv.bias"),
    Entry(f"{_LAYER}.x_proj.weight", f"{_OURS}.select.kernel"),
    *biased(f"{_LAYER}.dt_proj", f"{_OURS}.step"),
    Entry(f"{_LAYER}.A_log", f"{_OURS}.a_log", copy),
    Entry(f"{_LAYER}.D", f"{_OURS}.skip"),
    *biased(f"{_LAYER}.out_proj", f"{_OURS}.recurrent_out", when=has_bias),
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    sizes = read_sizes(settings, _SIZES, max_seq_len=2048)  # of text, as the published ones were trained
    width = sizes["d_model"]
    channels = settings.integer("intermediate_size", settings.integer("expand", 2, least=1) * width, least=1)
    settings.expect("hidden_act", "silu")
    settings.expect("use_conv_bias", True)
    settings.drop("residual_in_fp32", "rescale_prenorm_residual", "use_mambapy", "use_associative_scan")
    settings.drop(*(f"time_step_{what}" for what in ("scale", "min", "max", "init_scheme", "floor")))
    settings.drop("d_model", "d_inner", "n_layer", "ssm_cfg", "rms_norm", "fused_add_norm", "pad_vocab_size_multiple")
    derived = settings.says("time_step_rank", "auto")
    recurrent = Recurrent(
        width=channels,
        conv_width=settings.integer("conv_kernel", 4, least=1),
        state_width=settings.integer("state_size", 16, least=1),
        step_rank=0 if derived else settings.integer("time_step_rank", 0),
        bias=settings.flag("use_bias", False),
    )
    return ModelConfig(
        **sizes,
        n_heads=1,
        n_kv_heads=1,
        d_ff=width,
        head_width=width,
        norm_epsilon=settings.number("layer_norm_epsilon", 1e-5),
        mixer="ssm",
        mlp="none",
        recurrent=recurrent,
        tie_embeddings=settings.flag("tie_word_embeddings", True),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_sizes(cfg, _SIZES),
        "intermediate_size": recurrent_width(cfg, "ssm"),
        "conv_kernel": cfg.recurrent.conv_width,
        "state_size": cfg.recurrent.state_width,
        "time_step_rank": step_rank(cfg),
        "use_bias": cfg.recurrent.bias,
        "layer_norm_epsilon": cfg.norm_epsilon,
        "tie_word_embeddings": cfg.tie_embeddings,
    }


FAMILY = Family(
    model_type="mamba",
    architecture="MambaForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    tied={"lm_head.weight": "backbone.embeddings.weight"},
    prefix="backbone.",
)
