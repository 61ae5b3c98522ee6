"""Which family a model can be exported as: the first whose config says all of its architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lm.common.config import flatten
from lm.common.errors import UserError
from lm.convert.hf import families
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Family
from lm.model.config import EXECUTION, PER_LAYER, ModelConfig, pattern
from lm.model.widths import key_width, recurrent_blocks, recurrent_width, step_rank

# How a model is computed or trained, not what it is.
COMPUTED = (*EXECUTION, "dropout", "moe.balance_weight", "moe.balance_rate", "moe.z_weight")
_READ_BACK = "config.json"
_SHOWN = 6


def choose(cfg: ModelConfig, name: str | None = None, preferred: str | None = None) -> Family:
    """Returns the family to export as: the one called `name`, else `preferred` where it fits, else the first that does.

    Raises:
        UserError: the named one, or none, can say this architecture; what stands in the way of the nearest is named.
    """
    if name:
        candidates = [families.named(name, "family")]
    else:
        candidates = sorted(families.FAMILIES, key=lambda family: family.model_type != preferred)
    nearest: tuple[tuple[int, int], Family, list[str]] | None = None
    for family in candidates:
        found = obstacles(family, cfg)
        if not found:
            return family
        rank = (found[0].startswith(_READ_BACK), len(found))
        if nearest is None or rank < nearest[0]:
            nearest = rank, family, found
    assert nearest is not None
    _, family, found = nearest
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    who = f"family {family.model_type}" if name else f"no family fits; {family.model_type}, the nearest,"
    raise UserError(f"{who} cannot say {', '.join(found[:_SHOWN])}{more}; --format=torch writes any model")


def obstacles(family: Family, cfg: ModelConfig) -> list[str]:
    """Returns what of the architecture is lost in the family's config, as `model.KEY=VALUE`; nothing if it fits."""
    try:
        settings = Settings(family.write_config(cfg), _READ_BACK)
        back = family.read_config(settings)
        settings.finish()
    except UserError as error:
        return [str(error) if str(error).startswith(_READ_BACK) else f"{_READ_BACK}: {error}"]
    kept = architecture(back)
    return [f"model.{key}={value!r}" for key, value in architecture(cfg).items() if kept[key] != value]


def architecture(cfg: ModelConfig) -> Mapping[str, Any]:
    """Returns the keys that are the architecture, dotted, in one spelling: like architectures are equal."""
    values = {key: value for key, value in flatten(asdict(cfg)) if key not in COMPUTED}
    for key in PER_LAYER:
        if isinstance(value := values[key], tuple):
            values[key] = pattern([value[i % len(value)] for i in range(cfg.n_layers)])
    if all(math.isclose(cfg.attention_scale * math.sqrt(key_width(cfg, layer)), 1.0) for layer in cfg.layers):
        values["attention_scale"] = 0.0
    if any(layer.mixer == "latent" for layer in cfg.layers):
        values["latent.value_width"] = cfg.latent.value_width or cfg.head_width
    values["latent.norm_epsilon"] = cfg.latent.norm_epsilon or cfg.norm_epsilon
    values |= _resolved_recurrence(cfg)
    if not any(layer.attends for layer in cfg.layers):
        values |= dict.fromkeys(("n_heads", "n_kv_heads", "head_width"), 0)
    if all(layer.mlp == "none" or layer.n_experts for layer in cfg.layers):
        values["d_ff"] = 0
    if any(layer.n_experts for layer in cfg.layers):
        values["moe.d_ff"] = cfg.moe.d_ff or cfg.d_ff
    values["moe.n_experts"], values["moe.first_dense"] = pattern([layer.n_experts for layer in cfg.layers]), 0
    values["moe.balance"] = "bias" if cfg.moe.balance == "bias" else "none"  # a loss acts in training alone
    return values


def _resolved_recurrence(cfg: ModelConfig) -> dict[str, Any]:
    """Returns what the sizes of states come to where the model's width or heads stand for them."""
    mixers = {layer.mixer for layer in cfg.layers if not layer.attends}
    return {
        "recurrent.width": sorted(recurrent_width(cfg, mixer) for mixer in mixers),
        "recurrent.blocks": recurrent_blocks(cfg) if "linear" in mixers else 0,
        "recurrent.step_rank": step_rank(cfg) if "ssm" in mixers else 0,
    }
