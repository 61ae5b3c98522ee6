"""The parameter tree as a flat dictionary, one entry a tensor of one layer: what conversion tables speak of.

`layers/block_1/mixer/q/kernel`, stacked over its layers, becomes `layers.1.mixer.q.kernel`, `layers.4.mixer.q.kernel`
and so on, by the number of the layer in the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lm.model import cost
from lm.model.config import ModelConfig
from lm.model.roles import path_names


def shapes(cfg: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor of `cfg`, by its flat name."""
    return {name: tuple(leaf.shape) for name, leaf in _entries(cfg, cost.parameter_shapes(cfg), lambda a, i: _row(a))}


def flatten(cfg: ModelConfig, params: Any) -> dict[str, np.ndarray]:
    """Returns every tensor by its flat name, float32, layers in order."""
    return {name: np.asarray(a) for name, a in _entries(cfg, params, lambda a, i: np.asarray(a)[i])}


def unflatten(cfg: ModelConfig, tensors: Mapping[str, np.ndarray]) -> Any:
    """Builds the parameter tree from tensors by flat name; their names and shapes must be those of `shapes(cfg)`."""
    wanted = shapes(cfg)
    assert tensors.keys() == wanted.keys(), sorted(tensors.keys() ^ wanted.keys())
    assert all(tensors[name].shape == shape for name, shape in wanted.items())
    stacks = {stack.name: stack for stack in cfg.stacks}

    def leaf(path: tuple[Any, ...], shape: Any) -> np.ndarray:
        first, *rest = path_names(path)
        if first != "layers":
            return np.asarray(tensors[".".join([first, *rest])], np.float32)
        numbers = stacks[rest[0]].numbers
        return np.stack([np.asarray(tensors[".".join(["layers", str(n), *rest[1:]])], np.float32) for n in numbers])

    return jax.tree_util.tree_map_with_path(leaf, cost.parameter_shapes(cfg))


def allocate(cfg: ModelConfig) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns an unfilled float32 parameter tree, and views into it by flat name to fill it through."""
    tree = jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), cost.parameter_shapes(cfg))
    return tree, dict(_entries(cfg, tree, lambda a, i: a[i, ...]))


def _entries(cfg: ModelConfig, tree: Any, row: Any) -> list[tuple[str, Any]]:
    stacks = {stack.name: stack for stack in cfg.stacks}
    found: list[tuple[int, str, Any]] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        first, *rest = path_names(path)
        if first != "layers":
            found.append((-1, ".".join([first, *rest]), leaf))
            continue
        for i, number in enumerate(stacks[rest[0]].numbers):
            found.append((number, ".".join(["layers", str(number), *rest[1:]]), row(leaf, i)))
    return [(name, leaf) for _, name, leaf in sorted(found, key=lambda entry: entry[0])]


def _row(shape: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape[1:], shape.dtype)
