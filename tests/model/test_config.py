"""Architectures that cannot be are refused in one line that names the key, the value and the fix."""

from __future__ import annotations

import math

import pytest

from lm.common.errors import UserError
from lm.model.config import ModelConfig, Rope

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
        ({"remat": "all"}, "model.remat=all: choose one of none, dots, block"),
        ({"dtype": "float8"}, "model.dtype=float8: choose one of float32, bfloat16, float16"),
        ({"mlp_bias": 1}, "model.mlp_bias=1: expected True or False"),
        ({"d_ff": 8.0}, "model.d_ff=8.0: expected a whole number that is not negative"),
        ({"logit_scale": "1"}, "model.logit_scale=1: expected a number"),
        ({"logit_scale": math.nan}, "model.logit_scale=nan: expected a number"),
        ({"qkv_bias": (True, False)}, "model.qkv_bias=(True, False): one value for all layers, not a tuple"),
        ({"mlp": ()}, "model.mlp=(): one value for all layers, not a tuple"),
        ({"window": (4, -1)}, "model.window=-1: expected a whole number that is not negative"),
        ({"norm_epsilon": -1.0}, "model.norm_epsilon=-1.0: must be positive, or 0 for none of its own"),
        ({"logit_softcap": -1.0}, "model.logit_softcap=-1.0: must be positive, or 0 for none of its own"),
        ({"rope": Rope(theta=0.0)}, "model.rope.theta=0.0, model.rope.factor=1.0: must be positive"),
        ({"rope": Rope(fraction=1.5)}, "model.rope.fraction=1.5: must be in (0, 1]"),
        (
            {"rope": Rope(scaling="yarn", factor=2.0)},
            "model.rope.original_len=0: model.rope.scaling=yarn needs the original context",
        ),
        (
            {"rope": Rope(scaling="yarn", factor=2.0, original_len=8, beta_slow=32.0)},
            "model.rope.beta_slow=32.0: must be positive, and below model.rope.beta_fast=32.0",
        ),
        (
            {"rope": Rope(theta=1.0, scaling="yarn", factor=2.0, original_len=8)},
            "model.rope.theta=1.0: model.rope.scaling=yarn needs one above 1",
        ),
        (
            {"rope": Rope(scaling="llama3", original_len=8, low_frequency_factor=4.0)},
            "model.rope.low_frequency_factor=4.0: must be below model.rope.high_frequency_factor=4.0",
        ),
        (
            {"norm_placement": "post", "residual": "parallel"},
            "model.residual=parallel: a parallel block has no place for model.norm_placement=post",
        ),
        ({"hyper_streams": 0}, "model.hyper_streams=0: must be at least 1"),
        (
            {"hyper_streams": 2, "residual": "parallel"},
            "model.hyper_streams=2: needs model.residual=sequential, not parallel",
        ),
        (
            {"hyper_streams": 2, "norm_placement": "post"},
            "model.hyper_streams=2: has no one sum for model.norm_placement=post to norm",
        ),
        (
            {"hyper_dynamic": True},
            "model.hyper_dynamic=True: would change nothing, as model.hyper_streams is 1; leave it out",
        ),
        (
            {"norm_placement": "output", "residual": "parallel_shared"},
            "model.residual=parallel_shared: model.norm_placement=output norms no input to share",
        ),
        (
            {"mlp": ("none", "swiglu"), "residual": "parallel"},
            "model.residual=parallel: needs an MLP beside the mixer, but model.mlp is none",
        ),
        ({"predict_ahead": 8}, "model.predict_ahead=8: must be below model.max_seq_len=8"),
        (
            {"predict_ahead": 1, "value_residual": True},
            "model.predict_ahead=1: its blocks know no first layer's values, which model.value_residual=True needs; "
            "set one of them back",
        ),
        (
            {"norm_bias": True},
            "model.norm_bias=True: would change nothing, as model.norm=rms has no bias; leave it out",
        ),
        (
            {"position": "none", "rope": Rope(theta=100.0)},
            "model.rope.theta=100.0: would change nothing, as no layer has model.position=rope; leave it out",
        ),
        (
            {"rope": Rope(factor=(2.0, 1.0))},
            "model.rope.factor=(2.0, 1.0): would change nothing, as model.rope.scaling is none; leave it out",
        ),
        (
            {"norm": "none", "final_norm": False},
            "model.final_norm=False: would change nothing, as model.norm is none; leave it out",
        ),
        (
            {"norm": "tanh", "norm_epsilon": 1e-3},
            "model.norm_epsilon=0.001: would change nothing, as model.norm=tanh divides by nothing; leave it out",
        ),
        (
            {"head_bias": True},
            "model.head_bias=True: would change nothing, as model.tie_embeddings=True leaves no head of its own; "
            "leave it out",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_refusals(change: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        ModelConfig(**{**GOOD, "n_layers": 2, **change})
    assert str(error.value) == message


def test_choices_are_named() -> None:
    with pytest.raises(UserError, match=r"^model\.attention_backend=flash: choose one of xla, "):
        ModelConfig(**GOOD, attention_backend="flash")


def test_values_of_a_pattern_are_per_layer() -> None:
    """A list, as JSON has it, is a tuple; values beyond the last layer are of no layer."""
    values = {**GOOD, "n_layers": 2, "window": [4, 0, 2], "rope": {"theta": [10.0, 100.0]}, "not_its_own": 3}
    cfg = ModelConfig.from_dict(values)
    assert [layer.window for layer in cfg.layers] == [4, 0]
    assert [layer.theta for layer in cfg.layers] == [10.0, 100.0]
    assert cfg.rope.factor == 1.0


def test_a_section_is_no_value() -> None:
    with pytest.raises(UserError, match=r"^model\.rope=10000: a section of keys, not a value$"):
        ModelConfig.from_dict({**GOOD, "n_layers": 2, "rope": 10000})


@pytest.mark.parametrize("keys", [{"qk_norm": "head"}, {"mixer": "differential"}])
def test_a_norm_inside_attention_has_its_epsilon_where_the_layers_have_none(keys: dict) -> None:
    cfg = ModelConfig.from_dict({**GOOD, "n_layers": 2, "norm": "none", "norm_epsilon": 1e-3, **keys})
    assert cfg.norm_epsilon == 1e-3
