"""Tiny models of Hugging Face families with random weights: what `benchmarks.hf_parity` compares us with.

To add a family, add a `Specimen` to `SPECIMENS`: the keys of its Hugging Face config, small, chosen so that everything
the family can do is on and matters (windows shorter than the text, soft-caps near the scores, a stretched RoPE with an
original context below the lengths, one full layer pattern), and in `keep` the parameters whose initial values mean
something (a state-space model's `A_log`). The command, `tests/convert/hf/test_parity.py` and `test_teeth.py` take it
from there. A family whose Hugging Face code leaves padding to the caller says `padded=False`; one whose positions are
learned names `lengths` that it has positions for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

CONTEXT = 48
VOCAB = 101
NOISE = 0.3  # of norms' scales, biases and other vectors around their initial values


@dataclass(frozen=True)
class Specimen:
    """A tiny model of one family: `model_type` names its Hugging Face config, `values` sets its keys.

    Attributes:
        model_type: the family, as Hugging Face calls it.
        values: keys of the config beside those of `_SMALL`, of which None takes one away.
        lengths: of the texts compared; the default goes to twice and three times the context.
        keep: ends of names of parameters that stay as Hugging Face draws them.
        gain: factor on the standard deviation 1/sqrt(fan-in) of matrices.
        padded: whether Hugging Face's code takes left-padded batches.
        cache: what Hugging Face's code calls its cache.
        whole_mask: whether with a cache its mask is of all tokens so far, not of the call's alone.
    """

    model_type: str
    values: Mapping[str, Any] = field(default_factory=dict)
    lengths: tuple[int, ...] = (8, 33, 2 * CONTEXT, 3 * CONTEXT)
    keep: tuple[str, ...] = ()
    gain: float = 1.0
    padded: bool = True
    cache: str = "past_key_values"
    whole_mask: bool = True


_SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
_YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": CONTEXT}
_GEMMA = {"head_dim": 24, "rms_norm_eps": 3e-3, "query_pre_attn_scalar": 20}
_CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
_SPREAD = {"mscale": 0.707, "mscale_all_dim": 0.707}
_DEEPSEEK = {
    "num_key_value_heads": 4,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 40,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "routed_scaling_factor": 1.5,
}
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 40}
_HEADLESS = {"num_attention_heads": None, "num_key_value_heads": None}

SPECIMENS: dict[str, Specimen] = {
    "llama": Specimen("llama", {"rms_norm_eps": 3e-3, "tie_word_embeddings": False, "rope_parameters": _LLAMA3}),
    "llama, biases, tied": Specimen(
        "llama",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 24}
        | {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 300.0}},
    ),
    "mistral": Specimen("mistral", {"rms_norm_eps": 3e-3, "sliding_window": 7, "head_dim": 24}),
    "qwen2": Specimen(
        "qwen2",
        {"rms_norm_eps": 3e-3, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 4}
        | {"rope_parameters": _YARN},
    ),
    "qwen3": Specimen("qwen3", {"rms_norm_eps": 3e-3, "head_dim": 24, "rope_parameters": _YARN}),
    "gpt2": Specimen(
        "gpt2",
        {"max_position_embeddings": 3 * CONTEXT, "n_inner": 96, "layer_norm_epsilon": 3e-3}
        | {"intermediate_size": None, "num_key_value_heads": None},
    ),
    "gemma": Specimen("gemma", {"head_dim": 24, "rms_norm_eps": 3e-3}),
    "gemma2": Specimen("gemma2", {**_GEMMA, **_CAPS, "sliding_window": 7}),
    "gemma3": Specimen(
        "gemma3_text",
        {**_GEMMA, "sliding_window": 7}
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            }
        },
    ),
    "olmo": Specimen("olmo", {"clip_qkv": 1.5}),
    "olmo2": Specimen("olmo2", {"rms_norm_eps": 3e-3}),
    "phi": Specimen("phi", {"layer_norm_eps": 3e-3, "partial_rotary_factor": 0.5, "resid_pdrop": 0.0}),
    "phi3": Specimen("phi3", {"rms_norm_eps": 3e-3, "sliding_window": 7, "partial_rotary_factor": 0.75}),
    "smollm3": Specimen(
        "smollm3",
        {"rms_norm_eps": 3e-3, "use_sliding_window": True, "sliding_window": 7, "rope_parameters": _YARN},
    ),
    "starcoder2": Specimen("starcoder2", {"norm_epsilon": 3e-3, "sliding_window": 7}),
    "gpt_neox": Specimen("gpt_neox", {"layer_norm_eps": 3e-3, "num_key_value_heads": None}),
    "gpt_neox, sequential": Specimen(
        "gpt_neox",
        {"layer_norm_eps": 3e-3, "use_parallel_residual": False, "hidden_act": "gelu_fast"}
        | {"num_key_value_heads": None},
    ),
    "granite": Specimen(
        "granite",
        {"rms_norm_eps": 3e-3, "embedding_multiplier": 1.5, "logits_scaling": 0.8, "residual_multiplier": 0.7}
        | {"attention_multiplier": 0.35},
    ),
    "stablelm": Specimen("stablelm", {"layer_norm_eps": 3e-3, "use_qkv_bias": True}),
    "stablelm, parallel": Specimen("stablelm", {"layer_norm_eps": 3e-3, "use_parallel_residual": True}),
    "cohere": Specimen("cohere", {"layer_norm_eps": 3e-3, "logit_scale": 0.7}),
    "diffllama": Specimen("diffllama", {"rms_norm_eps": 3e-3, "attention_bias": True, "rope_parameters": _YARN}),
    "mixtral": Specimen(
        "mixtral",
        {"rms_norm_eps": 3e-3, "sliding_window": 7, "head_dim": 24, "num_local_experts": 6, "num_experts_per_tok": 3}
        | {"intermediate_size": 40},
    ),
    "qwen2_moe": Specimen(
        "qwen2_moe",
        {**_EXPERTS, "rms_norm_eps": 3e-3, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 4}
        | {"shared_expert_intermediate_size": 56, "decoder_sparse_step": 2},
    ),
    "qwen3_moe": Specimen(
        "qwen3_moe",
        {**_EXPERTS, "rms_norm_eps": 3e-3, "head_dim": 24, "rope_parameters": _YARN}
        | {"norm_topk_prob": True, "mlp_only_layers": [0, 1]},
    ),
    "olmoe": Specimen(
        "olmoe",
        {"rms_norm_eps": 3e-3, "num_experts": 8, "num_experts_per_tok": 3, "intermediate_size": 40},
    ),
    "gpt_oss": Specimen(
        "gpt_oss",
        {"rms_norm_eps": 3e-3, "head_dim": 24, "sliding_window": 7, "num_local_experts": 6, "num_experts_per_tok": 3}
        | {"intermediate_size": 40, "rope_parameters": _YARN | {"truncate": False}},
    ),
    "deepseek_v2": Specimen(
        "deepseek_v2",
        {**_DEEPSEEK, "rms_norm_eps": 3e-3, "q_lora_rank": 24, "rope_parameters": _YARN | _SPREAD}
        | {"n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy", "first_k_dense_replace": 2},
    ),
    "deepseek_v2, dense, biases": Specimen(
        "deepseek_v2", {**_DEEPSEEK, "q_lora_rank": None, "attention_bias": True, "first_k_dense_replace": 7}
    ),
    "deepseek_v3": Specimen(
        "deepseek_v3",
        {**_DEEPSEEK, "q_lora_rank": 24, "rope_parameters": _YARN | _SPREAD | {"mscale": 0.9}}
        | {"n_group": 4, "topk_group": 2, "first_k_dense_replace": 3, "num_nextn_predict_layers": 0},
    ),
    "mamba": Specimen(
        "mamba",
        {**_HEADLESS, "state_size": 5, "layer_norm_epsilon": 3e-3},
        keep=("A_log",),
        cache="cache_params",
        whole_mask=False,
    ),
    "mamba, biases": Specimen(
        "mamba",
        {**_HEADLESS, "intermediate_size": None, "expand": 3, "conv_kernel": 3, "time_step_rank": 7}
        | {"use_bias": True, "tie_word_embeddings": False},
        keep=("A_log",),
        padded=False,
        cache="cache_params",
        whole_mask=False,
    ),
    "recurrent_gemma": Specimen(
        "recurrent_gemma",
        {"hidden_size": 80, "intermediate_size": 192, "lru_width": 48, "attention_window_size": 7}
        | {"conv1d_width": 3, "rms_norm_eps": 3e-3, "logits_soft_cap": 3.0, "attention_bias": True},
        padded=False,
    ),
}


def build(specimen: Specimen, seed: int = 0) -> PreTrainedModel:
    """Returns the model, float32, in evaluation, with weights that keep activations and logits of order one."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # matrices this small lose more to threads than they win
    values = {key: value for key, value in {**_SMALL, **specimen.values}.items() if value is not None}
    config = AutoConfig.for_model(specimen.model_type, **values)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        for module in model.modules():
            for name, tensor in [*module.named_parameters(recurse=False), *_kept_buffers(module)]:
                if not name.endswith(specimen.keep or ("\n",)):
                    _draw(module, tensor, specimen.gain)
    model.tie_weights()
    return model


def _kept_buffers(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Returns a module's buffers that are stored with its parameters, as some routers' biases are."""
    left_out = module._non_persistent_buffers_set
    return [
        (name, t) for name, t in module.named_buffers(recurse=False) if name not in left_out and t.is_floating_point()
    ]


def _draw(module: torch.nn.Module, tensor: torch.Tensor, gain: float) -> None:
    if tensor.ndim < 2:
        tensor += NOISE * torch.randn_like(tensor)
    elif isinstance(module, torch.nn.Embedding):
        tensor.normal_(std=gain * 3 / math.sqrt(tensor.shape[1]))  # rows of length 3, whether read or scored against
    else:
        if isinstance(module, Conv1D):
            fan_in = float(tensor.shape[0])
        elif tensor.ndim == 2 or isinstance(module, torch.nn.Conv1d):
            fan_in = math.prod(tensor.shape[1:])
        else:  # experts' matrices, stored either way round
            fan_in = math.sqrt(math.prod(tensor.shape[1:]))
        tensor.normal_(std=gain / math.sqrt(fan_in))


def save(specimen: Specimen, directory: Path, seed: int = 0) -> PreTrainedModel:
    """Builds the model and writes it to `directory` as Hugging Face does."""
    model = build(specimen, seed)
    model.save_pretrained(directory)
    return model
