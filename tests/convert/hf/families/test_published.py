"""Configs as their makers publish them, in the spelling of their time: each is the model that Hugging Face makes of it.

Of `config.json` the keys that say what is computed stand here, with some that change nothing. Hugging Face's own
count of parameters, without drawing any, is the oracle for what is read; writing it and reading that again keeps it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from lm.common.errors import UserError
from lm.convert import hf
from lm.convert.hf import fitting, read_config
from lm.model import cost
from lm.model.config import ModelConfig
from tests.convert.hf.conftest import random_params, same

CONFIGS: dict[str, dict[str, Any]] = {
    "GPT-2": {
        "model_type": "gpt2", "activation_function": "gelu_new", "attn_pdrop": 0.1, "embd_pdrop": 0.1,
        "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "vocab_size": 50257, "summary_type": "cls_index", "bos_token_id": 50256,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    },
    "Mamba 130M": {
        "model_type": "mamba", "conv_kernel": 4, "d_inner": 1536, "d_model": 768, "expand": 2, "fused_add_norm": True,
        "hidden_act": "silu", "hidden_size": 768, "initializer_range": 0.1, "intermediate_size": 1536,
        "layer_norm_epsilon": 1e-05, "n_layer": 24, "num_hidden_layers": 24, "pad_vocab_size_multiple": 8,
        "rescale_prenorm_residual": False, "residual_in_fp32": True, "rms_norm": True, "ssm_cfg": {}, "state_size": 16,
        "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1, "time_step_min": 0.001,
        "time_step_rank": 48, "time_step_scale": 1.0, "use_bias": False, "use_conv_bias": True, "vocab_size": 50280,
    },
    "RecurrentGemma 2B": {
        "model_type": "recurrent_gemma", "attention_bias": False, "attention_dropout": 0.0,
        "attention_window_size": 2048, "block_types": ["recurrent", "recurrent", "attention"], "conv1d_width": 4,
        "embeddings_scale_by_sqrt_dim": True, "final_w_init_variance_scale": 0.07692307692307693, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2560, "intermediate_size": 15360,
        "logits_soft_cap": 30.0, "lru_width": 2560, "num_attention_heads": 10, "num_hidden_layers": 26,
        "num_key_value_heads": 1, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
        "vocab_size": 256000, "w_init_variance_scale": 0.01,
    },
    "Gemma 2B": {
        "model_type": "gemma", "attention_bias": False, "head_dim": 256, "hidden_act": "gelu", "hidden_size": 2048,
        "hidden_activation": None, "intermediate_size": 16384, "max_position_embeddings": 8192,
        "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1, "rms_norm_eps": 1e-06,
        "rope_scaling": None, "rope_theta": 10000.0, "vocab_size": 256000,
    },
    "Gemma 2 2B": {
        "model_type": "gemma2", "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
        "max_position_embeddings": 8192, "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
        "vocab_size": 256000,
    },
    "Gemma 3 1B": {
        "model_type": "gemma3_text", "attention_bias": False, "attn_logit_softcapping": None,
        "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": None, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
        "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None,
        "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144,
    },
    "OLMo 1B": {
        "model_type": "olmo", "attention_bias": False, "clip_qkv": None, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 2048, "num_attention_heads": 16,
        "num_hidden_layers": 16, "num_key_value_heads": 16, "pretraining_tp": 1, "rope_scaling": None,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "vocab_size": 50304,
    },
    "OLMo 2 7B": {
        "model_type": "olmo2", "attention_bias": False, "hidden_act": "silu", "hidden_size": 4096,
        "intermediate_size": 11008, "max_position_embeddings": 4096, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-06, "rope_scaling": None,
        "rope_theta": 500000, "tie_word_embeddings": False, "vocab_size": 100352,
    },
    "Phi-2": {
        "model_type": "phi", "embd_pdrop": 0.0, "hidden_act": "gelu_new", "hidden_size": 2560,
        "intermediate_size": 10240, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4,
        "qk_layernorm": False, "resid_pdrop": 0.1, "rope_scaling": None, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "vocab_size": 51200,
    },
    "Phi-3 mini 4k": {
        "model_type": "phi3", "attention_bias": False, "hidden_act": "silu", "hidden_size": 3072,
        "intermediate_size": 8192, "max_position_embeddings": 4096, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "sliding_window": 2047,
        "tie_word_embeddings": False, "vocab_size": 32064,
    },
    "SmolLM3 3B": {
        "model_type": "smollm3", "attention_bias": False, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 11008, "layer_types": ["full_attention"] * 36, "max_position_embeddings": 65536,
        "max_window_layers": 28, "mlp_bias": False, "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0] * 9,
        "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
        "rope_scaling": None, "rope_theta": 5000000.0, "sliding_window": None, "use_sliding_window": False,
        "vocab_size": 128256, "pretraining_tp": 2,
    },
    "StarCoder2 3B": {
        "model_type": "starcoder2", "embedding_dropout": 0.1, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3072,
        "intermediate_size": 12288, "max_position_embeddings": 16384, "mlp_type": "default", "norm_epsilon": 1e-05,
        "norm_type": "layer_norm", "num_attention_heads": 24, "num_hidden_layers": 30, "num_key_value_heads": 2,
        "residual_dropout": 0.1, "rope_theta": 999999.4420358813, "sliding_window": 4096, "use_bias": True,
        "vocab_size": 49152,
    },
    "Pythia 160M": {
        "model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "num_attention_heads": 12, "num_hidden_layers": 12,
        "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True,
        "vocab_size": 50304,
    },
    "Granite 3.0 2B": {
        "model_type": "granite", "attention_bias": False, "attention_multiplier": 0.015625,
        "embedding_multiplier": 12.0, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
        "logits_scaling": 8.0, "max_position_embeddings": 4096, "mlp_bias": False, "num_attention_heads": 32,
        "num_hidden_layers": 40, "num_key_value_heads": 8, "residual_multiplier": 0.22, "rms_norm_eps": 1e-05,
        "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": True, "vocab_size": 49155,
    },
    "StableLM 2 1.6B": {
        "model_type": "stablelm", "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 5632,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 24,
        "num_key_value_heads": 32, "partial_rotary_factor": 0.25, "rope_theta": 10000, "tie_word_embeddings": False,
        "use_qkv_bias": True, "vocab_size": 100352,
    },
    "Command R": {
        "model_type": "cohere", "attention_bias": False, "hidden_act": "silu", "hidden_size": 8192,
        "intermediate_size": 22528, "layer_norm_eps": 1e-05, "logit_scale": 0.0625, "max_position_embeddings": 8192,
        "num_attention_heads": 64, "num_hidden_layers": 40, "num_key_value_heads": 64, "pretraining_tp": 1,
        "rope_theta": 8000000.0, "use_qk_norm": False, "vocab_size": 256000,
    },
}  # fmt: skip

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": ("scale_attn_by_inverse_layer_idx", {"scale_attn_by_inverse_layer_idx": True}),
    "Gemma 2 2B": ("use_bidirectional_attention", {"use_bidirectional_attention": True}),
    "Gemma 3 1B": ("rope_parameters", {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2}}}),
    "OLMo 1B": ("layer_norm_eps", {"layer_norm_eps": 1e-6}),
    "Phi-2": ("qk_layernorm", {"qk_layernorm": True}),
    "Phi-3 mini 4k": ("longrope", {"rope_scaling": {"type": "longrope", "long_factor": [2.0], "short_factor": [1.0]}}),
    "SmolLM3 3B": ("no_rope_layers", {"no_rope_layers": [1, 0]}),
    "Pythia 160M": ("hidden_act", {"hidden_act": "mish"}),
    "Mamba 130M": ("use_conv_bias", {"use_conv_bias": False}),
    "RecurrentGemma 2B": ("block_types", {"block_types": ["recurrent", "convolution"]}),
    "StableLM 2 1.6B": ("qk_layernorm", {"qk_layernorm": True}),
    "Command R": ("use_qk_norm", {"use_qk_norm": True}),
}


def read(directory: Path, values: dict[str, Any]) -> ModelConfig:
    """Reads a config.json that is written for it."""
    (directory / "config.json").write_text(json.dumps(values))
    return read_config(directory)[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_config_is_as_large_as_hugging_face_makes_it(name: str, tmp_path: Path) -> None:
    values = dict(CONFIGS[name])
    cfg = read(tmp_path, values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values))
    assert cost.n_params(cfg) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_exported_as_what_it_was(name: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS[name])
    kind = CONFIGS[name]["model_type"]
    family = fitting.choose(cfg, kind)
    again = read(tmp_path, {"model_type": kind, **family.write_config(cfg)})
    assert fitting.architecture(again) == fitting.architecture(cfg)


@pytest.mark.parametrize("name", REFUSED)
def test_what_ours_does_not_compute_is_refused_by_name(name: str, tmp_path: Path) -> None:
    said, keys = REFUSED[name]
    with pytest.raises(UserError, match=said):
        read(tmp_path, {**CONFIGS[name], **keys})


def test_gemma_alternates_and_its_global_layers_turn_slower(tmp_path: Path) -> None:
    two = read(tmp_path, CONFIGS["Gemma 2 2B"])
    assert [layer.window for layer in two.layers[:4]] == [4096, 0, 4096, 0]
    three = read(tmp_path, CONFIGS["Gemma 3 1B"])
    assert [layer.window for layer in three.layers[:6]] == [512] * 5 + [0]
    assert [layer.theta for layer in three.layers[:6]] == [1e4] * 5 + [1e6]


def test_gemma_2_bounds_scores_where_its_file_is_silent_and_not_where_it_says_null(tmp_path: Path) -> None:
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    silent = read(tmp_path, {key: value for key, value in CONFIGS["Gemma 2 2B"].items() if key not in caps})
    assert (silent.attention_softcap, silent.logit_softcap) == (50.0, 30.0)
    null = read(tmp_path, CONFIGS["Gemma 2 2B"] | dict.fromkeys(caps))
    assert (null.attention_softcap, null.logit_softcap) == (0.0, 0.0)


def test_recurrent_gemma_attends_in_every_third_layer_and_rounds_the_scale_of_embeddings(tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS["RecurrentGemma 2B"])
    assert [layer.mixer for layer in cfg.layers[:6]] == ["linear", "linear", "attention"] * 2
    assert cfg.embedding_scale == 50.5  # the root of 2560 is 50.596…; bfloat16 has 50.5 and 50.75 there


def test_a_mamba_of_widths_that_stand_for_others_is_exported(tmp_path: Path) -> None:
    """A model of one's own, whose heads and feed-forward units are nobody's, and whose sizes follow from its width."""
    cfg = ModelConfig(11, 2, 4, 2, 32, 48, 8, 64, mixer="ssm", mlp="none", norm_epsilon=1e-5)
    assert fitting.choose(cfg).model_type == "mamba"
    params = random_params(cfg)
    hf.write(cfg, params, tmp_path / "whole")
    assert same(hf.read(tmp_path / "whole").params, params)


def test_a_divisor_of_logits_comes_back_whole(tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS["Granite 3.0 2B"] | {"logits_scaling": 49.0})
    assert fitting.choose(cfg, "granite").write_config(cfg)["logits_scaling"] == 49.0


def test_a_trunk_of_gpt2_with_its_causal_masks_is_read(tmp_path: Path) -> None:
    shape = {"n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 6, "vocab_size": 11}
    cfg = read(tmp_path, CONFIGS["GPT-2"] | shape)
    params = random_params(cfg)
    hf.write(cfg, params, tmp_path / "whole", family="gpt2")
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    masks = {f"h.{i}.attn.bias": np.ones((1, 1, 6, 6), np.float32) for i in range(2)}
    trunk = {name.removeprefix("transformer."): a for name, a in tensors.items()}
    save_file(trunk | masks, tmp_path / "whole" / "model.safetensors")
    assert same(hf.read(tmp_path / "whole").params, params)


def test_the_first_gemma_says_gelu_and_means_its_approximation(tmp_path: Path) -> None:
    assert read(tmp_path, CONFIGS["Gemma 2B"]).mlp == "geglu_tanh"
