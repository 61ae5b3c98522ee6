"""Counts on paper against the products that the decoder's own trace holds, and against arrays that are there."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lm.model import cache, cost, decoder, presets
from lm.model.config import Latent, ModelConfig

SHAPE = {
    "vocab_size": 61, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "d_model": 32, "d_ff": 48, "head_width": 8,
    "max_seq_len": 24,
}  # fmt: skip


def products(jaxpr: Any) -> int:
    """Counts the operations of every product in a trace, 2 a multiplication and addition, loops as often as they run.

    Products with constants of the trace (rotations) are none: they are elementwise here.
    """
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * inner * math.prod(equation.outvars[0].aval.shape)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            inside = getattr(value, "jaxpr", value)
            if hasattr(inside, "eqns"):
                total += times * products(inside)
    return total


def traced(cfg: ModelConfig, seq_len: int) -> int:
    """Returns the operations of the forward pass over one row, from its trace."""
    tokens_BT = jnp.zeros((1, seq_len), jnp.int32)
    trace = jax.make_jaxpr(lambda params: decoder.Decoder(cfg).apply({"params": params}, tokens_BT))
    return products(trace(cost.parameter_shapes(cfg)).jaxpr)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"tie_embeddings": False, "head_bias": True, "scan_layers": False},
        {"mlp": ("gelu", "none"), "qkv_bias": True, "mlp_bias": True},
        {"attention_gate": "element", "qk_norm": "full", "position_embedding": "learned", "value_residual": True},
        {"attention_gate": "head", "residual": "parallel_shared", "attention_sinks": True},
        {"mixer": "differential"},
        {"mixer": "latent", "n_kv_heads": 4, "latent": Latent(kv_rank=12, rope_width=6, value_width=10)},
        {"mixer": "latent", "n_kv_heads": 4, "latent": Latent(q_rank=20, kv_rank=12, rope_width=6)},
        {"mixer": ("lstm", "gru")},
        {"mixer": ("linear", "linear", "attention")},
        {"mixer": "ssm", "mlp": "none"},
        {"hyper_streams": 3, "mlp": ("swiglu", "none")},
        {"hyper_streams": 2, "hyper_dynamic": True},
    ],
)
def test_flops_are_those_of_the_trace(keys: dict[str, Any]) -> None:
    cfg = ModelConfig(**{**SHAPE, **keys})
    assert 24 * cost.forward_flops(cfg, 24) == traced(cfg, 24)
    assert cost.flops_per_token(cfg, 24) == 3 * cost.forward_flops(cfg, 24)


def test_a_window_bounds_what_attention_costs() -> None:
    """Every other layer sees 8 tokens: 4·H·N·8 in place of 4·H·N·100, and none of it where the row is shorter."""
    full, windowed = ModelConfig(**SHAPE), ModelConfig(**SHAPE, window=(8, 0))
    assert cost.forward_flops(full, 100) - cost.forward_flops(windowed, 100) == 2 * 4 * 4 * 8 * (100 - 8)
    assert cost.forward_flops(full, 8) == cost.forward_flops(windowed, 8)


def test_llama_by_hand() -> None:
    """7B: 6 of each of 6,607,077,376 weights in matrices and head, and 12 · 32 layers · 4096 · 4096 tokens."""
    cfg = presets.get("llama2-7b")
    norms, table = 65 * 4096, 32_000 * 4096
    assert cost.flops_per_token(cfg, 4096) == 6 * (cost.n_params(cfg) - norms - table) + 12 * 32 * 4096 * 4096


def test_windows_bound_what_is_seen_of_a_cache() -> None:
    """Of 10 tokens a layer with a window of 4 sees 4: two of three layers have one."""
    cfg = ModelConfig(**SHAPE, window=(4, 0))
    assert cost.seen_bytes(cfg, 10) == cost.cache_bytes(cfg, 10) // 30 * (10 + 2 * 4)
    assert cost.seen_bytes(cfg, 3) == cost.cache_bytes(cfg, 3)


def test_a_state_is_as_large_whatever_the_length() -> None:
    cfg = ModelConfig(**SHAPE, mixer="ssm")
    assert cost.cache_bytes(cfg, 1) == cost.cache_bytes(cfg, 1000) > 0


def test_a_cache_has_the_bytes_it_is_said_to_have() -> None:
    cfg = ModelConfig(**SHAPE, window=(4, 0), dtype="bfloat16")
    arrays = jax.tree.leaves(cache.empty(cfg, 1, 10).layers)
    assert cost.cache_bytes(cfg, 10) == sum(array.nbytes for array in arrays)


def test_a_cache_of_llama_by_hand() -> None:
    """8B: 32 layers · 8 heads · 128 numbers, twice, of two bytes each: 128 KiB a token."""
    cfg = replace(presets.get("llama3-8b"), dtype="bfloat16")
    assert cost.cache_bytes(cfg, 1) == 131_072
    assert cost.cache_bytes(cfg, 100) == 100 * 131_072
