"""Parameters and floating-point operations, counted on paper.

Dims: T time, D width, H query heads, N head width, L layers.
"""

from __future__ import annotations

import math
from typing import Any

import jax

from lm.model import decoder
from lm.model.config import ModelConfig
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
    """Floating-point operations to train on one token: 6 a matrix weight, 12·L·H·N·T for attention.

    The count of Chowdhery et al. (2022, appendix B): three times the forward pass, causal masking not
    deducted, rematerialisation not counted; the table lookup is free and a tied head counts as a matrix.
    """
    leaves = jax.tree_util.tree_leaves_with_path(parameter_shapes(cfg))
    weights = sum(
        math.prod(leaf.shape)
        for path, leaf in leaves
        if (names := path_names(path))[0] == "head" or role_of(names).group == "matrix"
    )
    if cfg.tie_embeddings:
        weights += cfg.vocab_size * cfg.d_model
    return 6 * weights + 12 * cfg.n_layers * cfg.n_heads * cfg.head_width * seq_len
