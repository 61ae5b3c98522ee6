"""Published configs with experts: as large as Hugging Face makes them, as active as said, and read as written."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lm.common.errors import UserError
from lm.convert.hf import fitting, read_config
from lm.model import cost
from lm.model.config import ModelConfig, Moe

CONFIGS: dict[str, dict[str, Any]] = {
    "Mixtral 8x7B": {
        "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": None,
        "num_local_experts": 8, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02,
        "output_router_logits": False, "tie_word_embeddings": False,
    },
    "Qwen1.5 MoE A2.7B": {
        "model_type": "qwen2_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "silu",
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
        "use_sliding_window": False, "max_window_layers": 21, "decoder_sparse_step": 1, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4, "norm_topk_prob": False,
        "router_aux_loss_coef": 0.001, "tie_word_embeddings": False,
    },
    "Qwen3 30B A3B": {
        "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
        "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
        "hidden_act": "silu", "max_position_embeddings": 40960, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "rope_scaling": None, "sliding_window": None, "use_sliding_window": False, "max_window_layers": 48,
        "attention_bias": False, "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True, "router_aux_loss_coef": 0.001,
        "tie_word_embeddings": False,
    },
    "OLMoE 1B 7B": {
        "model_type": "olmoe", "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 1024,
        "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "silu",
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "clip_qkv": None,
        "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "router_aux_loss_coef": 0.01,
        "tie_word_embeddings": False,
    },
    "GPT-OSS 20B": {
        "model_type": "gpt_oss", "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880,
        "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "hidden_act": "silu", "max_position_embeddings": 131072, "initial_context_length": 4096,
        "rms_norm_eps": 1e-05, "rope_theta": 150000, "sliding_window": 128, "attention_bias": True,
        "layer_types": ["sliding_attention", "full_attention"] * 12, "num_local_experts": 32,
        "num_experts_per_tok": 4, "experts_per_token": 4, "swiglu_limit": 7.0, "router_aux_loss_coef": 0.9,
        "rope_scaling": {
            "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
            "rope_type": "yarn", "truncate": False,
        },
        "tie_word_embeddings": False,
    },
}  # fmt: skip
ACTIVE = {"Mixtral 8x7B": 12.9, "Qwen1.5 MoE A2.7B": 2.7, "Qwen3 30B A3B": 3.3, "OLMoE 1B 7B": 1.3, "GPT-OSS 20B": 3.6}


def read(directory: Path, values: dict[str, Any]) -> ModelConfig:
    (directory / "config.json").write_text(json.dumps(values))
    return read_config(directory)[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_as_large_as_hugging_face_makes_it(name: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS[name])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**deepcopy(CONFIGS[name])))
    assert cost.n_params(cfg) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_as_active_as_its_makers_say(name: str, tmp_path: Path) -> None:
    """In thousand millions; GPT-OSS counts without the table that is looked up."""
    cfg = read(tmp_path, CONFIGS[name])
    table = cfg.vocab_size * cfg.d_model if name == "GPT-OSS 20B" else 0
    assert (cost.n_active_params(cfg) - table) / 1e9 == pytest.approx(ACTIVE[name], abs=0.1)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_exported_as_what_it_was(name: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS[name])
    family = fitting.choose(cfg)
    assert family.model_type == CONFIGS[name]["model_type"]
    assert read(tmp_path, {"model_type": family.model_type, **family.write_config(cfg)}) == cfg


def test_layers_without_experts_are_read_from_either_spelling(tmp_path: Path) -> None:
    """Every second layer, the first few, or any that are named."""
    qwen = CONFIGS["Qwen3 30B A3B"] | {"num_hidden_layers": 6}

    def counts(**keys: Any) -> list[int]:
        return [layer.n_experts for layer in read(tmp_path, qwen | keys).layers]

    assert counts(decoder_sparse_step=2) == [0, 128] * 3
    assert counts(mlp_only_layers=[0, 1]) == [0, 0, 128, 128, 128, 128]
    assert counts(mlp_only_layers=[4]) == [128, 128, 128, 128, 0, 128]
    assert read(tmp_path, qwen | {"mlp_only_layers": [0, 1]}).moe.first_dense == 2


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("GPT-OSS 20B", {"swiglu_limit": 5.0}, "swiglu_limit=5.0: only 7.0 is supported"),
        ("OLMoE 1B 7B", {"clip_qkv": 8.0}, "clip_qkv=8.0: only null is supported"),
        ("Mixtral 8x7B", {"num_local_experts": 1}, "model.moe.top_k=2: must be at least 1 and at most"),
    ],
)
def test_what_ours_does_not_compute_is_refused(name: str, keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, CONFIGS[name] | keys)


@pytest.mark.parametrize("moe", [{"capacity_factor": 1.0}, {"score": "sigmoid"}, {"weight_scale": 2.0}])
def test_routing_that_the_format_cannot_say_is_not_exported(moe: dict[str, Any], tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS["Mixtral 8x7B"])
    with pytest.raises(UserError, match=r"model\.moe"):
        fitting.choose(replace(cfg, moe=Moe(**{"n_experts": 8, **moe})), "mixtral")
