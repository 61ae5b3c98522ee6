"""Random small architectures from the whole config space, and parameters for them that are not near their start.

What can be drawn is read off `ModelConfig`: the choices of a name, both values of a switch, patterns where a key is
per layer. For numbers `NUMBERS` says which; a number that is not there keeps its default, and `test_properties` fails
until somebody says how to draw it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args

import jax
import numpy as np

from lm.common.errors import UserError
from lm.model import config, cost
from lm.model.config import PER_LAYER, ModelConfig
from lm.model.roles import is_stacked, path_names, role_of

NUMBERS: dict[str, tuple[Any, ...]] = {
    "vocab_size": (37, 40),
    "n_layers": (1, 2, 3, 4, 5),
    "n_heads": (2, 4),
    "n_kv_heads": (1, 2, 4),
    "d_model": (16, 24, 32),
    "d_ff": (16, 24, 40),
    "head_width": (4, 8),
    "max_seq_len": (32, 24),
    "moe.n_experts": (0, 4, 8),
    "moe.top_k": (2, 1, 3),
    "moe.d_ff": (0, 8),
    "moe.shared_d_ff": (0, 8),
    "moe.first_dense": (0, 1, 2),
    "moe.weight_scale": (1.0, 1.5),
    "moe.n_groups": (1, 2, 4),
    "moe.top_groups": (1, 2),
    "moe.capacity_factor": (0.0, 1.0),
    "moe.balance_weight": (0.01, 0.1),
    "moe.balance_rate": (0.001, 0.1),
    "moe.z_weight": (0.0, 0.01),
    "norm_epsilon": (1e-6, 1e-3),
    "residual_scale": (1.0, 0.7),
    "hyper_streams": (1, 1, 1, 2, 3),  # mostly 1: several go with fewer of the other keys
    "window": (0, 2, 5),
    "attention_scale": (0.0, 0.3),
    "attention_softcap": (0.0, 2.0),
    "qkv_clip": (0.0, 0.8),
    "rope.theta": (10_000.0, 100.0),
    "rope.fraction": (1.0, 0.5),
    "rope.factor": (1.0, 2.0, 4.0),
    "rope.original_len": (0, 64, 2048),
    "rope.low_frequency_factor": (1.0, 0.5),
    "rope.high_frequency_factor": (4.0, 3.0),
    "rope.beta_fast": (32.0, 2.0),
    "rope.beta_slow": (1.0, 0.5),
    "rope.attention_factor": (0.0, 1.2),
    "latent.q_rank": (0, 5),
    "latent.kv_rank": (0, 6, 4),
    "latent.rope_width": (0, 4, 2),
    "latent.value_width": (0, 6),
    "latent.norm_epsilon": (0.0, 1e-3),
    "recurrent.width": (0, 16, 40),
    "recurrent.conv_width": (4, 1, 3),
    "recurrent.blocks": (0, 1, 8),
    "recurrent.state_width": (16, 5),
    "recurrent.step_rank": (0, 3),
    "embedding_scale": (1.0, 1.5),
    "logit_scale": (1.0, 0.5),
    "logit_softcap": (0.0, 5.0),
    "dropout": (0.0, 0.2),
    "predict_ahead": (0, 1, 2),
}
# Properties hold to a float's last digits only in float32, and on any machine only in plain JAX on one device.
FIXED: dict[str, Any] = {
    "dtype": "float32", "attention_backend": "xla", "pipeline_microbatches": 0, "pipeline_repeats": 1,
    "quantize": "none",
}  # fmt: skip
SEEDS = range(256)  # between them they use every choice of every key
KINDS = (  # the keys whose every choice the quick tests have; of the others the slow ones have the rest
    "mixer", "mlp", "norm", "norm_placement", "residual", "position", "position_embedding", "qk_norm", "hyper_streams",
    "moe.capacity_factor", "moe.score", "moe.balance", "predict_ahead", "attention_gate",
)  # fmt: skip
LONGEST_PATTERN = 3
ENOUGH = 5000


@cache
def keys() -> dict[str, tuple[str, Any]]:
    """Returns the type and the default of every key of the config, by its dotted name, sections resolved."""
    return dict(_keys(ModelConfig, ""))


def _keys(cls: Any, prefix: str) -> list[tuple[str, tuple[str, Any]]]:
    found = []
    for item in fields(cls):
        section = item.default_factory if isinstance(item.default_factory, type) else None
        if section is not None and is_dataclass(section):
            found += _keys(section, f"{prefix}{item.name}.")
        else:
            kind = str(item.type).removeprefix("PerLayer[").removesuffix("]")
            found.append((f"{prefix}{item.name}", (kind, item.default)))
    return found


@cache
def choices() -> dict[str, tuple[Any, ...]]:
    """Returns the values each key is drawn from, its default first; those nobody said how to draw have none."""
    found = {}
    for key, (kind, default) in keys().items():
        if key in FIXED:
            some: tuple[Any, ...] = (FIXED[key],)
        elif kind in ("int", "float"):
            some = NUMBERS.get(key, ())
        else:
            some = (False, True) if kind == "bool" else get_args(getattr(config, kind))
        found[key] = tuple(sorted(some, key=lambda value: value != default))
    return found


@cache
def draw(seed: int) -> ModelConfig:
    """Draws a valid architecture; where keys do not go together, one of those the refusal names is drawn again."""
    rng = random.Random(seed)
    return settle({key: _propose(key, rng) for key, some in choices().items() if some}, rng)


def settle(values: dict[str, Any], rng: random.Random) -> ModelConfig:
    """Builds a config from values by dotted key, drawing again what its refusals name."""
    for _ in range(ENOUGH):
        try:
            return build(values)
        except UserError as error:
            named = [key for key in re.findall(r"model\.([a-z0-9_.]*[a-z0-9_])", str(error)) if key in values]
            if not named:
                raise
            key = rng.choice(named)
            unused = key == named[0] and "leave it out" in str(error)
            values = values | {key: choices()[key][0] if unused else _propose(key, rng)}
    raise AssertionError(f"no valid architecture is near {values}")


def _propose(key: str, rng: random.Random) -> Any:
    """Draws one value, or a pattern where the key is per layer; half of the time what is first, if that is optional."""
    some = choices()[key]

    def one() -> Any:
        return rng.choice(some) if key in NUMBERS or rng.random() < 0.5 else some[0]

    if key not in PER_LAYER or rng.random() < 0.5:
        return one()
    return tuple(rng.choice(some) for _ in range(rng.randint(2, LONGEST_PATTERN)))


def build(values: dict[str, Any]) -> ModelConfig:
    """Builds a config from values by dotted key."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    return ModelConfig.from_dict(nested)


def flat(cfg: ModelConfig) -> dict[str, Any]:
    """Returns every key's value by its dotted name."""
    values = {}
    for key in keys():
        section, _, name = key.rpartition(".")
        values[key] = getattr(getattr(cfg, section) if section else cfg, name)
    return values


def used(cfg: ModelConfig) -> set[tuple[str, Any]]:
    """Returns the (key, choice) pairs that an architecture has; of patterns, what its layers come to."""
    return {
        (key, one)
        for key, value in flat(cfg).items()
        for one in (value[: cfg.n_layers] if isinstance(value, tuple) else (value,))
    }


def covering(seeds: range, kinds: Collection[str], chosen: Sequence[int] = ()) -> list[int]:
    """Returns few of the seeds, those chosen first, that use every choice of these keys that any uses, greedily."""
    having = {seed: {pair for pair in used(draw(seed)) if pair[0] in kinds} for seed in seeds}
    few, left = list(chosen), set[tuple[str, Any]]().union(*having.values())
    left.difference_update(*(having[seed] for seed in few))
    while left:
        few.append(max(seeds, key=lambda seed: len(having[seed] & left)))
        left -= having[few[-1]]
    return few


def parameters(cfg: ModelConfig, seed: int = 0) -> Any:
    """Draws parameters at which every part matters: embeddings of order one, scales, biases and gates off their start.

    At the usual start half of the properties would hold of models that are wrong: biases are 0, scales 1.
    """
    rng = np.random.default_rng(seed)

    def leaf(path: tuple[Any, ...], shape: Any) -> np.ndarray:
        names = path_names(path)
        role = role_of(names)
        noise = rng.normal(size=shape.shape)
        own = shape.shape[1:] if is_stacked(names) else shape.shape
        if role.start is None:
            return (noise * (1.0 if role.group == "embedding" else role.std(own, cfg))).astype(np.float32)
        off = 0.2 if own else 0.1  # one number must not come near 0 by chance: what it scales would vanish
        return (np.asarray(role.start(own, cfg, jax.random.key(seed))) + off * noise).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, cost.parameter_shapes(cfg))
