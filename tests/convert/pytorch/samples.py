"""Hand-picked small architectures, and their PyTorch modules with the JAX model's parameters."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lm.convert import flat
from lm.convert.pytorch import FAMILY, names
from lm.convert.pytorch.modeling_lm import LmConfig, LmForCausalLM
from lm.model import ahead
from lm.model.config import Latent, ModelConfig, Moe, Recurrent, Rope
from lm.model.decoder import Decoder
from tests.model.architectures import parameters

TOLERANCE = 2e-5  # of the largest logit

torch.set_num_threads(1)  # tensors are tiny: handing them to threads costs more than it saves

_BASE = ModelConfig(
    vocab_size=41, n_layers=2, n_heads=4, n_kv_heads=2, d_model=16, d_ff=24, head_width=4, max_seq_len=32
)
_CHANGES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {
        "n_kv_heads": 4,
        "mlp": "gelu_tanh",
        "mlp_bias": True,
        "norm": "layer",
        "norm_bias": True,
        "norm_epsilon": 1e-3,
        "qkv_bias": True,
        "o_bias": True,
        "position": "none",
        "position_embedding": "learned",
    },
    "gemma2": {
        "mlp": "geglu_tanh",
        "norm_scale": "one_plus",
        "norm_placement": "sandwich",
        "window": (5, 0),
        "attention_scale": 0.3,
        "attention_softcap": 2.0,
        "embedding_scale": 4.0,
        "logit_softcap": 5.0,
    },
    "olmo2": {"norm_placement": "output", "qk_norm": "full", "tie_embeddings": False},
    "gpt-oss": {
        "window": (3, 0),
        "attention_sinks": True,
        "qkv_bias": True,
        "rope": Rope(theta=100.0, scaling="yarn", factor=4.0, original_len=8, beta_fast=2.0, truncate=False),
        "tie_embeddings": False,
    },
    "qwen3-next": {
        "qk_norm": "head",
        "attention_gate": "element",
        "rope": Rope(fraction=0.5),
        "norm_scale": "one_plus",
    },
    "cohere": {
        "mlp": "reglu",
        "norm": "layer",
        "residual": "parallel_shared",
        "attention_gate": "head",
        "logit_scale": 0.5,
        "rope": Rope(scaling="linear", factor=(2.0, 4.0)),
    },
    "neox": {
        "mlp": "gelu",
        "norm": "layer",
        "norm_bias": True,
        "residual": "parallel",
        "rope": Rope(fraction=0.5, scaling="ntk", factor=2.0),
        "tie_embeddings": False,
        "head_bias": True,
    },
    "bloom": {
        "n_layers": 3,
        "n_heads": 6,
        "n_kv_heads": 1,
        "mlp": "relu2",
        "position": "alibi",
        "value_residual": True,
    },
    "transformer": {
        "mlp": "relu",
        "norm": "layer",
        "norm_placement": "post",
        "final_norm": False,
        "position": "none",
        "position_embedding": "sinusoidal",
        "dropout": 0.1,
    },
    "normless": {
        "mlp": ("geglu", "none", "silu"),
        "n_layers": 4,
        "norm": "tanh",
        "norm_bias": True,
        "residual_scale": 0.7,
    },
    "bare": {
        "norm": "none",
        "norm_scale": "weight",
        "position": ("rope", "none"),
        "rope": Rope(theta=(100.0, 1000.0), scaling="llama3", factor=4.0, original_len=16),
    },
    "differential": {
        "n_kv_heads": 2,
        "mixer": ("differential", "attention"),
        "window": (3, 0),
        "attention_sinks": True,
        "attention_gate": "element",
        "qkv_bias": True,
        "value_residual": True,
    },
    "deepseek": {
        "n_layers": 3,
        "mixer": ("latent", "latent", "attention"),
        "latent": Latent(q_rank=5, kv_rank=6, rope_width=2, value_width=3, norm_epsilon=1e-3),
        "qkv_bias": True,
        "o_bias": True,
        "rope": Rope(scaling="yarn", factor=4.0, original_len=8),
    },
    "latent": {
        "n_kv_heads": 4,
        "mixer": "latent",
        "latent": Latent(kv_rank=6, rope_width=2),
        "position": ("alibi", "none"),
        "attention_softcap": 2.0,
        "attention_gate": "head",
    },
    "lstm": {
        "n_layers": 3,
        "mixer": ("gru", "lstm"),
        "mlp": ("swiglu", "none"),
        "recurrent": Recurrent(width=24, bias=True),
    },
    "mamba": {"mixer": "ssm", "mlp": "none", "recurrent": Recurrent(state_width=3, conv_width=3)},
    "griffin": {
        "n_layers": 4,
        "mixer": ("linear", "ssm", "attention"),
        "window": 4,
        "recurrent": Recurrent(width=32, blocks=8, bias=True),
    },
    "hyper": {
        "n_layers": 3,
        "mlp": ("swiglu", "swiglu", "none"),
        "hyper_streams": 3,
        "hyper_dynamic": True,
        "norm_placement": "sandwich",
        "value_residual": True,
        "residual_scale": 0.7,
    },
    "hyper-static": {"hyper_streams": 2, "norm": "none", "mixer": ("attention", "ssm")},
    "unscaled": {"norm": "rms", "norm_scale": "none", "n_kv_heads": 4},
}
_EXPERTS: dict[str, dict[str, Any]] = {
    "mixtral": {"moe": Moe(4)},
    "deepseek-v3": {
        "n_layers": 3,
        "moe": Moe(
            8,
            top_k=3,
            d_ff=10,
            shared_d_ff=12,
            first_dense=1,
            score="sigmoid",
            weight_scale=2.5,
            n_groups=4,
            top_groups=2,
            group_score="top2",
            balance="bias",
        ),
    },
    "qwen2-moe": {"moe": Moe(4, normalise=False, shared_d_ff=12, shared_gate=True, z_weight=0.1), "n_layers": 3},
    "gpt-oss-moe": {"moe": Moe(4, router_bias=True), "mlp": "swiglu_clamped", "mlp_bias": True},
    "gshard": {"moe": Moe((4, 0), top_k=1, normalise=False, capacity_factor=0.6), "mlp": "relu"},
}
EXPERTS = {name: dataclasses.replace(_BASE, **change) for name, change in _EXPERTS.items()}
ARCHITECTURES = {name: dataclasses.replace(_BASE, **change) for name, change in _CHANGES.items()}


@cache
def params(cfg: ModelConfig) -> Any:
    """Returns parameters at which every part matters."""
    return parameters(cfg)


def module(cfg: ModelConfig) -> Any:
    """Returns the PyTorch module with those parameters, in evaluation mode."""
    cfg, kept = ahead.left_out(cfg, params(cfg))
    model = LmForCausalLM(LmConfig(**FAMILY.write_config(cfg)))
    tensors = flat.flatten(cfg, kept)
    state = {row.theirs[0]: np.array(row.write([tensors[row.ours[0].name]])[0]) for row in names.rows(cfg)}
    missing, left = model.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()}, strict=False)
    assert left == []
    assert missing == (["head.weight"] if cfg.tie_embeddings else [])
    return model.eval()


def tokens(cfg: ModelConfig, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, cfg.vocab_size, shape))


def jax_logits(cfg: ModelConfig, tokens_BT: torch.Tensor) -> np.ndarray:
    run = jax.jit(lambda p, x_BT: Decoder(cfg).apply({"params": p}, x_BT).logits_BTV)
    return np.asarray(run(params(cfg), jnp.asarray(tokens_BT.numpy())))


def assert_close(
    found: torch.Tensor, wanted: torch.Tensor | np.ndarray, tolerance: float = TOLERANCE, *, least: float = 0.0
) -> None:
    """Compares as a share of the largest number, or of `least` where that is larger."""
    wanted = np.asarray(wanted)
    largest = max(float(np.abs(wanted).max()), least)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=tolerance * largest)
