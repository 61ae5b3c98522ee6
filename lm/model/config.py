"""The architecture as a frozen value: everything the decoder does follows from a `ModelConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from lm.common.errors import UserError

Remat = Literal["none", "dots", "block"]
AttentionBackend = Literal["xla"]


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer: pre-norm RMSNorm, RoPE, grouped-query attention, SwiGLU.

    The first group of fields is the architecture and shapes the parameters; the second says how it is
    computed and changes no result beyond rounding.
    """

    vocab_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_ff: int
    head_width: int
    max_seq_len: int
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    tie_embeddings: bool = True
    dropout: float = 0.0

    attention: AttentionBackend = "xla"
    scan_layers: bool = True
    remat: Remat = "none"
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff", "head_width", "max_seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)}: must be at least 1")
        if self.n_heads % self.n_kv_heads:
            divisors = [str(k) for k in range(1, self.n_heads + 1) if self.n_heads % k == 0]
            raise UserError(
                f"model.n_kv_heads={self.n_kv_heads} does not divide model.n_heads={self.n_heads}; "
                f"use one of {', '.join(divisors)}"
            )
        if self.head_width % 2:
            raise UserError(f"model.head_width={self.head_width}: RoPE rotates pairs, so it must be even")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"model.dropout={self.dropout}: must be in [0, 1)")
        for name, choices in (("attention", AttentionBackend), ("remat", Remat)):
            if getattr(self, name) not in get_args(choices):
                raise UserError(f"model.{name}={getattr(self, name)}: choose one of {', '.join(get_args(choices))}")
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"model.dtype={self.dtype}: choose float32 or bfloat16")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Builds a config from resolved values, taking only the architecture's own keys."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})
