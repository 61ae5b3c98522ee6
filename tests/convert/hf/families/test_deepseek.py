"""DeepSeek's published configs: as large as they say, scores scaled as they say, and read again as they are written."""

from __future__ import annotations

import json
import math
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
from lm.model.config import ModelConfig

_YARN = {"beta_fast": 32, "beta_slow": 1, "factor": 40, "original_max_position_embeddings": 4096, "type": "yarn"}
_BOTH: dict[str, Any] = {
    "attention_bias": False, "attention_dropout": 0.0, "aux_loss_alpha": 0.001, "hidden_act": "silu",
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "moe_layer_freq": 1, "pretraining_tp": 1,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000, "seq_aux": True,
    "tie_word_embeddings": False, "v_head_dim": 128,
}  # fmt: skip
_V2 = _BOTH | {
    "model_type": "deepseek_v2", "vocab_size": 102400, "n_shared_experts": 2, "num_experts_per_tok": 6,
    "first_k_dense_replace": 1, "norm_topk_prob": False, "scoring_func": "softmax",
    "rope_scaling": _YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "V2 Lite": _V2 | {
        "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_hidden_layers": 27,
        "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": None, "n_routed_experts": 64,
        "n_group": 1, "topk_group": 1, "topk_method": "greedy", "routed_scaling_factor": 1.0,
    },
    "V2": _V2 | {
        "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_hidden_layers": 60,
        "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "n_routed_experts": 160,
        "n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0,
    },
    "V3": _BOTH | {
        "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "q_lora_rank": 1536, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "first_k_dense_replace": 3, "n_group": 8, "topk_group": 4,
        "topk_method": "noaux_tc", "routed_scaling_factor": 2.5, "norm_topk_prob": True, "scoring_func": "sigmoid",
        "num_nextn_predict_layers": 1, "ep_size": 1, "rope_scaling": _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
    },
}  # fmt: skip


def read(directory: Path, values: dict[str, Any]) -> ModelConfig:
    (directory / "config.json").write_text(json.dumps(values))
    return read_config(directory)[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_as_large_as_hugging_face_makes_it(name: str, tmp_path: Path) -> None:
    """Hugging Face does not count the biases of the routers' choice."""
    cfg = read(tmp_path, CONFIGS[name])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**deepcopy(CONFIGS[name])))
    biases = sum(layer.n_experts for layer in cfg.layers) if cfg.moe.balance == "bias" else 0
    assert cost.n_params(cfg) - biases == sum(p.numel() for p in model.parameters())


def test_what_is_kept_of_a_token_is_what_the_reports_say(tmp_path: Path) -> None:
    """Of V2: 512 + 64 numbers a layer, 4.5 heads' worth of 128, where heads would keep 256 of them."""
    cfg = read(tmp_path, CONFIGS["V2"])
    assert cost.cache_bytes(cfg, 1) == 60 * (512 + 64) * 4


@pytest.mark.parametrize(("name", "weight"), [("V2 Lite", 0.707), ("V3", 1.0)])
def test_scores_are_scaled_and_rotations_are_not(name: str, weight: float, tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS[name])
    assert cfg.attention_scale == pytest.approx((0.1 * weight * math.log(40) + 1) ** 2 / math.sqrt(192))
    assert cfg.rope.attention_factor == 1.0


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_exported_as_what_it_was(name: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, CONFIGS[name])
    family = fitting.choose(cfg)
    assert family.model_type == CONFIGS[name]["model_type"]
    written = family.write_config(cfg)
    scaling = {
        "type": "yarn",
        **{k: v for k, v in written["rope_scaling"].items() if k in CONFIGS[name]["rope_scaling"]},
    }
    assert scaling == CONFIGS[name]["rope_scaling"]
    assert {key: written[key] for key in ("n_group", "topk_group", "n_shared_experts", "q_lora_rank")} == {
        key: CONFIGS[name][key] for key in ("n_group", "topk_group", "n_shared_experts", "q_lora_rank")
    }
    assert read(tmp_path, {"model_type": family.model_type, **written}) == cfg


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("V2", {"norm_topk_prob": True}, "norm_topk_prob=true: only false is supported"),
        ("V2", {"scoring_func": "sigmoid"}, 'scoring_func="sigmoid": only "softmax" is supported'),
        ("V2", {"n_routed_experts": 0}, "n_routed_experts=0: layers from first_k_dense_replace=1 on need at least 1"),
        ("V2", {"num_key_value_heads": 32}, "model.n_kv_heads=32: model.mixer=latent unfolds keys for every head"),
        ("V3", {"rope_interleave": False}, "rope_interleave=false: only true is supported"),
        ("V3", {"topk_method": "greedy"}, 'topk_method="greedy": only "noaux_tc" is supported'),
    ],
)
def test_what_ours_does_not_compute_is_refused_by_name(
    name: str, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, CONFIGS[name] | keys)


def test_another_scale_of_scores_is_not_lost_on_export(tmp_path: Path) -> None:
    """Nor one that would be the default if heads had no rotated part."""
    plain = {key: value for key, value in CONFIGS["V2 Lite"].items() if key != "rope_scaling"}
    values = read(tmp_path, plain)
    for scale in (0.05, 1 / math.sqrt(128)):
        with pytest.raises(UserError, match="attention_scale"):
            fitting.choose(replace(values, attention_scale=scale), "deepseek_v2")
