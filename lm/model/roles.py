"""What a parameter *is* decides its initialisation, decay, learning rate, optimiser and sharding: one table.

A parameter is known by the last two names of its path (`mixer/q/kernel` is a `q.kernel`). Initial standard
deviations: embeddings 0.02 (Radford et al., 2019); hidden matrices 1/sqrt(fan-in) (LeCun et al., 1998);
matrices that write into the residual stream smaller by sqrt(2 x layers), so that its variance does not grow
with depth (Radford et al., 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig

Group = Literal["matrix", "embedding", "vector"]
EMBEDDING_STD = 0.02


@dataclass(frozen=True)
class Role:
    """Everything that depends on what a parameter is.

    Attributes:
        axes: logical axis of each dimension, mapped to mesh axes by `lm.common.mesh`.
        n_in: how many leading dimensions are contracted with the input (the fan-in); 0 for what is no matrix.
        group: `matrix` (hidden matrices; Muon's), `embedding` (tables and heads) or `vector` (norms).
        residual: whether the output is added to the residual stream.
        decay: whether weight decay applies (matrices only, Loshchilov & Hutter, 2019).
        lr_multiplier: factor on the learning rate.
    """

    axes: tuple[str, ...]
    n_in: int
    group: Group
    residual: bool = False
    decay: bool = True
    lr_multiplier: float = 1.0

    def std(self, shape: tuple[int, ...], cfg: ModelConfig) -> float | None:
        """Returns the initial standard deviation for a parameter of `shape`; None means all ones."""
        if self.group == "vector":
            return None
        if self.group == "embedding":
            return EMBEDDING_STD
        depth = math.sqrt(2 * cfg.n_layers) if self.residual else 1.0
        return 1.0 / (math.sqrt(math.prod(shape[: self.n_in])) * depth)


ROLES: dict[str, Role] = {
    "embed.table": Role(("vocab", "embed"), 1, "embedding"),
    "norm.scale": Role(("embed",), 0, "vector", decay=False),
    "q.kernel": Role(("embed", "heads", "head_width"), 1, "matrix"),
    "k.kernel": Role(("embed", "kv_heads", "head_width"), 1, "matrix"),
    "v.kernel": Role(("embed", "kv_heads", "head_width"), 1, "matrix"),
    "o.kernel": Role(("heads", "head_width", "embed"), 2, "matrix", residual=True),
    "gate.kernel": Role(("embed", "mlp"), 1, "matrix"),
    "up.kernel": Role(("embed", "mlp"), 1, "matrix"),
    "down.kernel": Role(("mlp", "embed"), 1, "matrix", residual=True),
    "head.kernel": Role(("embed", "vocab"), 1, "embedding"),
}


def role_of(path: tuple[str, ...]) -> Role:
    """Returns the role of the parameter at `path`, such as `("layers", "block_0", "mixer", "q", "kernel")`."""
    module, leaf = path[-2:]
    key = f"norm.{leaf}" if module.endswith("norm") else f"{module}.{leaf}"
    assert key in ROLES, f"parameter {'/'.join(path)} has no row in the role table"
    return ROLES[key]


def initialise(name: str, shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Draws a float32 parameter of `shape` for the role called `name`."""
    std = ROLES[name].std(shape, cfg)
    return jnp.ones(shape, jnp.float32) if std is None else std * jax.random.normal(key, shape, jnp.float32)


def path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Turns a JAX key path into plain names."""
    return tuple(str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry)))) for entry in path)


def is_stacked(path: tuple[str, ...]) -> bool:
    """Says whether the parameter at `path` carries a leading layer dimension."""
    return path[0] == "layers"


def logical_axes(params: Any) -> Any:
    """Returns, for each parameter, the logical name of each of its dimensions."""

    def axes(path: tuple[Any, ...], leaf: Any) -> tuple[str, ...]:
        names = path_names(path)
        result = (("layers",) if is_stacked(names) else ()) + role_of(names).axes
        assert len(result) == len(leaf.shape), f"{'/'.join(names)}: axes {result} for shape {leaf.shape}"
        return result

    return jax.tree_util.tree_map_with_path(axes, params)
