"""What a config may not say: wrong kinds of values, layers that cannot be computed, keys that would change nothing."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args

from lm.common.errors import UserError
from lm.model.attention import support
from lm.model.widths import (
    key_width,
    recurrent_blocks,
    recurrent_width,
    rotary_width,
    rotates_heads,
    uses_rope,
    value_width,
    width_of_its_own,
)

if TYPE_CHECKING:
    from lm.model.config import ModelConfig


def check(c: ModelConfig) -> None:
    """Refuses a config that says what it may not.

    Raises:
        UserError: the first such key, its value, and what to do.
    """
    _check_types(c, "model")
    shape = ("vocab_size", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff", "head_width", "max_seq_len")
    for name in (*shape, "hyper_streams", "pipeline_repeats"):
        if getattr(c, name) < 1:
            raise UserError(f"model.{name}={getattr(c, name)}: must be at least 1")
    if c.n_heads % c.n_kv_heads:
        divisors = [str(k) for k in range(1, c.n_heads + 1) if c.n_heads % k == 0]
        raise UserError(
            f"model.n_kv_heads={c.n_kv_heads} does not divide model.n_heads={c.n_heads}; "
            f"use one of {', '.join(divisors)}"
        )
    if not 0.0 <= c.dropout < 1.0:
        raise UserError(f"model.dropout={c.dropout}: must be in [0, 1)")
    for name in ("norm_epsilon", "attention_scale", "attention_softcap", "logit_softcap", "qkv_clip"):
        if getattr(c, name) < 0:
            raise UserError(f"model.{name}={getattr(c, name)}: must be positive, or 0 for none of its own")
    _check_pattern(c)
    _check_unused(c)
    for layer in c.layers:
        width = key_width(c, layer) if layer.attends else 0
        support.check(c.attention_backend, attention_features(c), c.dtype, width)


def _check_types(config: Any, prefix: str) -> None:
    """Checks each field against the type of its annotation: a number, a switch, or one of the choices."""
    choices = vars(sys.modules[type(config).__module__])  # where an annotation's name is defined
    for item in fields(config):
        name, value = f"{prefix}.{item.name}", getattr(config, item.name)
        if is_dataclass(value):
            _check_types(value, name)
            continue
        annotation = str(item.type)
        per_layer = annotation.startswith("PerLayer[")
        kind = annotation.removeprefix("PerLayer[").removesuffix("]")
        if isinstance(value, tuple) and not (per_layer and value):
            raise UserError(f"{name}={value}: one value for all layers, not a tuple")
        for one in value if isinstance(value, tuple) else (value,):
            _check_value(name, one, kind, choices)


def _check_value(name: str, value: Any, kind: str, choices: Mapping[str, Any]) -> None:
    if kind == "bool":
        right = isinstance(value, bool)
    elif kind == "int":
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif kind == "float":
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    else:
        if value not in get_args(choices[kind]):
            raise UserError(f"{name}={value}: choose one of {', '.join(map(str, get_args(choices[kind])))}")
        return
    if not right:
        wanted = {"bool": "True or False", "int": "a whole number that is not negative", "float": "a number"}[kind]
        raise UserError(f"{name}={value}: expected {wanted}")


def _check_pattern(c: ModelConfig) -> None:
    """Refuses combinations of layers that cannot be computed."""
    if not all(layer.theta > 0 and layer.factor > 0 for layer in c.layers):
        raise UserError(f"model.rope.theta={c.rope.theta}, model.rope.factor={c.rope.factor}: must be positive")
    if rotates_heads(c):
        if not 0 < c.rope.fraction <= 1:
            raise UserError(f"model.rope.fraction={c.rope.fraction}: must be in (0, 1]")
        if rotary_width(c) % 2 or not rotary_width(c):
            raise UserError(
                f"model.head_width={c.head_width}: RoPE rotates pairs, so model.rope.fraction of it must be even"
            )
    if c.rope.scaling == "yarn":
        if not c.rope.beta_fast > c.rope.beta_slow > 0:
            raise UserError(
                f"model.rope.beta_slow={c.rope.beta_slow}: must be positive, and below "
                f"model.rope.beta_fast={c.rope.beta_fast}"
            )
        if any(layer.theta <= 1 for layer in c.layers):
            raise UserError(f"model.rope.theta={c.rope.theta}: model.rope.scaling=yarn needs one above 1")
    if uses_rope(c) and c.rope.scaling in ("llama3", "yarn") and not c.rope.original_len:
        raise UserError(f"model.rope.original_len=0: model.rope.scaling={c.rope.scaling} needs the original context")
    if c.rope.scaling == "llama3" and c.rope.low_frequency_factor >= c.rope.high_frequency_factor:
        raise UserError(
            f"model.rope.low_frequency_factor={c.rope.low_frequency_factor}: must be below "
            f"model.rope.high_frequency_factor={c.rope.high_frequency_factor}"
        )
    if c.norm_placement == "post" and c.residual != "sequential":
        raise UserError(f"model.residual={c.residual}: a parallel block has no place for model.norm_placement=post")
    if c.hyper_streams > 1 and c.residual != "sequential":
        raise UserError(f"model.hyper_streams={c.hyper_streams}: needs model.residual=sequential, not {c.residual}")
    if c.hyper_streams > 1 and c.norm_placement == "post":
        raise UserError(f"model.hyper_streams={c.hyper_streams}: has no one sum for model.norm_placement=post to norm")
    if c.residual == "parallel_shared" and c.norm_placement == "output":
        raise UserError("model.residual=parallel_shared: model.norm_placement=output norms no input to share")
    if c.residual != "sequential" and any(layer.mlp == "none" for layer in c.layers):
        raise UserError(f"model.residual={c.residual}: needs an MLP beside the mixer, but model.mlp is none")
    if c.quantize != "none" and c.dtype == "float16":
        raise UserError(
            f"model.quantize={c.quantize}: takes the scales of weights into gradients, which leave float16's range; "
            "set model.dtype=bfloat16"
        )
    if c.predict_ahead and c.value_residual:
        raise UserError(
            f"model.predict_ahead={c.predict_ahead}: its blocks know no first layer's values, which "
            f"model.value_residual=True needs; set one of them back"
        )
    if c.predict_ahead >= c.max_seq_len:
        raise UserError(f"model.predict_ahead={c.predict_ahead}: must be below model.max_seq_len={c.max_seq_len}")
    if c.value_residual and not all(layer.by_head for layer in c.layers):
        raise UserError("model.value_residual=True: every layer must have values by head; model.mixer says otherwise")
    if any(layer.mixer == "differential" for layer in c.layers) and c.n_kv_heads % 2:
        raise UserError(f"model.n_kv_heads={c.n_kv_heads}: model.mixer=differential pairs heads; use an even number")
    if any(layer.mixer == "latent" for layer in c.layers):
        _check_latent(c)
    if any(layer.mixer == "linear" for layer in c.layers) and recurrent_width(c, "linear") % recurrent_blocks(c):
        raise UserError(
            f"model.recurrent.blocks={recurrent_blocks(c)}: must divide the width of the recurrence, "
            f"{recurrent_width(c, 'linear')}; set it, or model.recurrent.width"
        )
    _check_moe(c)
    for name in ("conv_width", "state_width"):
        if not getattr(c.recurrent, name):
            raise UserError(f"model.recurrent.{name}=0: must be at least 1")


def _check_moe(c: ModelConfig) -> None:
    moe, groups = c.moe, c.moe.n_groups
    if moe.first_dense >= c.n_layers:
        raise UserError(f"model.moe.first_dense={moe.first_dense}: leaves none of {c.n_layers} layers to the experts")
    for name in ("weight_scale", "capacity_factor", "balance_weight", "balance_rate", "z_weight"):
        if getattr(moe, name) < 0:
            raise UserError(f"model.moe.{name}={getattr(moe, name)}: must not be negative")
    for n in sorted({layer.n_experts for layer in c.layers if layer.n_experts}):
        if not 1 <= moe.top_k <= n:
            raise UserError(f"model.moe.top_k={moe.top_k}: must be at least 1 and at most model.moe.n_experts={n}")
        if not groups or n % groups:
            raise UserError(f"model.moe.n_groups={groups}: must divide model.moe.n_experts={n}")
        if groups > 1 and not 1 <= moe.top_groups < groups:
            raise UserError(f"model.moe.top_groups={moe.top_groups}: must be at least 1 and below {groups}, the groups")
        if moe.top_k == 1 and moe.normalise:
            raise UserError("model.moe.top_k=1: with model.moe.normalise=True its weight is 1, and no router learns")
        if moe.top_k > n // groups * moe.top_groups:
            raise UserError(f"model.moe.top_k={moe.top_k}: the {moe.top_groups} chosen groups have fewer experts")
        if moe.group_score == "top2" and n // groups < 2:
            raise UserError(f"model.moe.group_score=top2: {groups} groups of {n} experts have no two; use max")


def _check_latent(c: ModelConfig) -> None:
    for name in ("kv_rank", "rope_width"):
        if not getattr(c.latent, name):
            raise UserError(f"model.latent.{name}=0: model.mixer=latent needs at least 1")
    if c.latent.rope_width % 2 and any(layer.mixer == "latent" and layer.position == "rope" for layer in c.layers):
        raise UserError(f"model.latent.rope_width={c.latent.rope_width}: RoPE rotates pairs; use an even number")
    if c.n_kv_heads != c.n_heads and not any(layer.by_head for layer in c.layers):
        raise UserError(
            f"model.n_kv_heads={c.n_kv_heads}: model.mixer=latent unfolds keys for every head; leave it out, or set it "
            f"to model.n_heads={c.n_heads}"
        )


def _check_unused(c: ModelConfig) -> None:
    """Refuses keys that are set but would change nothing."""
    attends = any(layer.attends for layer in c.layers)
    by_head = any(layer.by_head for layer in c.layers)
    mixers = {layer.mixer for layer in c.layers}
    convolves = bool(mixers & {"linear", "ssm"})
    routes = any(layer.n_experts for layer in c.layers)
    norms_inside = c.qk_norm != "none" or bool(mixers & {"latent", "differential"})
    needs = (
        ("rope.", uses_rope(c), "no layer has model.position=rope"),
        ("rope.fraction", rotates_heads(c), "latent attention rotates model.latent.rope_width alone"),
        ("recurrent.", bool(mixers & {"gru", "lstm", "linear", "ssm"}), "no layer carries a state"),
        ("recurrent.conv_width", convolves, "no layer has model.mixer=linear or ssm"),
        ("recurrent.blocks", "linear" in mixers, "no layer has model.mixer=linear"),
        ("recurrent.state_width", "ssm" in mixers, "no layer has model.mixer=ssm"),
        ("recurrent.step_rank", "ssm" in mixers, "no layer has model.mixer=ssm"),
        ("recurrent.bias", convolves or width_of_its_own(c), "no layer has a map that goes without"),
        ("moe.", routes, "no layer has both an MLP and model.moe.n_experts"),
        ("moe.shared_gate", c.moe.shared_d_ff > 0, "model.moe.shared_d_ff=0 is no shared expert"),
        ("moe.top_groups", c.moe.n_groups > 1, "model.moe.n_groups is 1"),
        ("moe.group_score", c.moe.n_groups > 1, "model.moe.n_groups is 1"),
        ("moe.balance_weight", c.moe.balance == "loss", "model.moe.balance is not loss"),
        ("moe.balance_rate", c.moe.balance == "bias", "model.moe.balance is not bias"),
        ("latent.", any(layer.mixer == "latent" for layer in c.layers), "no layer has model.mixer=latent"),
        ("rope.factor", c.rope.scaling != "none", "model.rope.scaling is none"),
        ("rope.original_len", c.rope.scaling in ("llama3", "yarn"), "model.rope.scaling is neither llama3 nor yarn"),
        ("rope.low_frequency_factor", c.rope.scaling == "llama3", "model.rope.scaling is not llama3"),
        ("rope.high_frequency_factor", c.rope.scaling == "llama3", "model.rope.scaling is not llama3"),
        ("rope.beta_fast", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.beta_slow", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.attention_factor", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.truncate", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("norm_bias", c.norm in ("layer", "tanh"), f"model.norm={c.norm} has no bias"),
        ("norm_scale", c.norm != "none" or norms_inside, "model.norm is none"),
        ("norm_epsilon", c.norm in ("rms", "layer") or norms_inside, f"model.norm={c.norm} divides by nothing"),
        ("final_norm", c.norm != "none", "model.norm is none"),
        ("norm_placement", c.norm != "none", "model.norm is none"),
        ("hyper_dynamic", c.hyper_streams > 1, "model.hyper_streams is 1"),
        ("head_bias", not c.tie_embeddings, "model.tie_embeddings=True leaves no head of its own"),
        ("mlp_bias", any(layer.mlp != "none" for layer in c.layers), "no layer has an MLP"),
        ("window", attends, "no layer attends"),
        ("position", attends, "no layer attends"),
        ("qkv_bias", attends, "no layer attends"),
        ("qkv_clip", by_head, "no layer has keys by head"),
        ("o_bias", attends, "no layer attends"),
        ("qk_norm", by_head, "no layer has keys by head"),
        ("attention_scale", attends, "no layer attends"),
        ("attention_softcap", attends, "no layer attends"),
        ("attention_sinks", attends, "no layer attends"),
        ("attention_gate", attends, "no layer attends"),
    )
    defaults = type(c).__dataclass_fields__
    for key, used, why in needs:
        if used:
            continue
        section, _, name = key.rpartition(".")
        if section:
            group = getattr(c, section)
            names = [name] if name else [item.name for item in fields(group)]
            changed = [(f"{section}.{n}", getattr(group, n)) for n in names if getattr(group, n) != _default(group, n)]
        else:
            changed = [(name, getattr(c, name))] if getattr(c, name) != defaults[name].default else []
        for full, value in changed:
            raise UserError(f"model.{full}={value}: would change nothing, as {why}; leave it out")


def _default(group: Any, name: str) -> Any:
    return type(group).__dataclass_fields__[name].default


def attention_features(c: ModelConfig) -> list[str]:
    """Returns which of `support.FEATURES` the layers' attention asks of its backend."""
    asks = {
        "grouped": c.n_kv_heads < c.n_heads,
        "window": any(layer.window for layer in c.layers),
        "softcap": c.attention_softcap > 0,
        "sinks": c.attention_sinks,
        "alibi": any(layer.position == "alibi" for layer in c.layers),
        "value_width": any(value_width(c, layer) != key_width(c, layer) for layer in c.layers if layer.attends),
    }
    return [feature for feature, asked in asks.items() if asked]
