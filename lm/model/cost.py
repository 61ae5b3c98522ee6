"""Parameters, floating-point operations and caches, counted on paper: nothing is drawn or allocated.

Dims: T time, D width, H query heads, N head width, L layers.
"""

from __future__ import annotations

import math
from typing import Any

import jax

from lm.model import cache, decoder
from lm.model.config import Layer, ModelConfig
from lm.model.roles import path_names, role_of


def parameter_shapes(cfg: ModelConfig) -> Any:
    """Returns the parameter tree as shapes, without drawing any value."""
    return jax.eval_shape(lambda key: decoder.init(cfg, key), jax.random.key(0))


def parameter_table(cfg: ModelConfig) -> list[tuple[str, tuple[int, ...], int]]:
    """Returns `(path, shape, count)` for every parameter."""
    leaves = jax.tree_util.tree_leaves_with_path(parameter_shapes(cfg))
    return [("/".join(path_names(path)), leaf.shape, math.prod(leaf.shape)) for path, leaf in leaves]


def n_params(cfg: ModelConfig) -> int:
    """Counts all parameters, a tied table once."""
    return sum(count for _, _, count in parameter_table(cfg))


def flops_per_token(cfg: ModelConfig, seq_len: int) -> int:
    """Floating-point operations to train on one token: three times the forward pass, nothing computed again."""
    return 3 * forward_flops(cfg, seq_len)


def forward_flops(cfg: ModelConfig, seq_len: int) -> int:
    """Floating-point operations to read or write one token: 2 a matrix weight, 4·H·N·T a layer of attention.

    The count of Chowdhery et al. (2022, appendix B): causal masking is not deducted, but a window is; the table
    lookup is free and a tied head counts as a matrix.
    """
    names = [(tuple(path.split("/")), count) for path, _, count in parameter_table(cfg)]
    weights = sum(count for name, count in names if name == ("head", "kernel") or role_of(name).group == "matrix")
    if cfg.tie_embeddings:
        weights += cfg.vocab_size * cfg.d_model
    return 2 * weights + sum(_mixing_flops(cfg, layer, seq_len) for layer in cfg.layers)


def _mixing_flops(cfg: ModelConfig, layer: Layer, seq_len: int) -> int:
    """Returns what a mixer computes for a token beyond the products with its weights."""
    seen = min(layer.window or seq_len, seq_len)
    return 4 * cfg.n_heads * cfg.head_width * seen


def cache_bytes(cfg: ModelConfig, slots: int) -> int:
    """Returns the bytes of what the mixers keep of `slots` tokens of one row."""
    kept = jax.eval_shape(lambda: cache.empty(cfg, 1, slots)).layers
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
