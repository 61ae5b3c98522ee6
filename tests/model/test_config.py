"""Architectures that cannot be are refused in one line that names the key, the value and the fix."""

from __future__ import annotations

import pytest

from lm.common.errors import UserError
from lm.model.config import ModelConfig

GOOD = {
    "vocab_size": 8, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "d_model": 8, "d_ff": 8, "head_width": 2,
    "max_seq_len": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layers": 0}, "model.n_layers=0: must be at least 1"),
        ({"n_kv_heads": 3}, "model.n_kv_heads=3 does not divide model.n_heads=4; use one of 1, 2, 4"),
        ({"head_width": 3}, "model.head_width=3: RoPE rotates pairs, so model.rope.fraction of it must be even"),
        ({"dropout": 1.0}, "model.dropout=1.0: must be in [0, 1)"),
        ({"attention_backend": "flash"}, "model.attention_backend=flash: choose one of xla"),
        ({"remat": "all"}, "model.remat=all: choose one of none, dots, block"),
        ({"dtype": "float16"}, "model.dtype=float16: choose one of float32, bfloat16"),
    ],
)
def test_refusals(change: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        ModelConfig(**{**GOOD, **change})
    assert str(error.value) == message
