"""Parameters, floating-point operations and caches, counted on paper: nothing is drawn or allocated.

Dims: T time, D width, H query heads, N head width, L layers.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax

from lm.model import cache, decoder
from lm.model.config import Layer, ModelConfig
from lm.model.mixers import MIXERS
from lm.model.roles import axes_of, path_names, role_of
from lm.model.widths import key_width, recurrent_width, value_width


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


def n_active_params(cfg: ModelConfig) -> int:
    """Counts the parameters that a token meets: of the experts it is routed to, `moe.top_k` of all."""
    return sum(active for _, active in _active_parameters(cfg))


def _active_parameters(cfg: ModelConfig) -> list[tuple[tuple[str, ...], int]]:
    """Returns the names of every parameter and how many of its numbers act on one token."""

    def active(names: tuple[str, ...], shape: tuple[int, ...], count: int) -> int:
        axes = axes_of(names, len(shape))
        return count * cfg.moe.top_k // shape[axes.index("expert")] if "expert" in axes else count

    table = [(tuple(path.split("/")), shape, count) for path, shape, count in parameter_table(cfg)]
    return [(names, active(names, shape, count)) for names, shape, count in table]


def flops_per_token(cfg: ModelConfig, seq_len: int) -> int:
    """Floating-point operations to train on one token: three times the forward pass, nothing computed again.

    Each depth of `predict_ahead` runs a block like the last, and the head once more.
    """
    last = cfg.layers[-1]
    block = _mixing_flops(cfg, last, seq_len) + _stream_flops(cfg, last)
    ahead = cfg.predict_ahead * (2 * cfg.vocab_size * cfg.d_model + block)
    ahead += 2 * _matrix_weights(cfg, ahead=True)
    return 3 * (forward_flops(cfg, seq_len) + ahead)


def forward_flops(cfg: ModelConfig, seq_len: int) -> int:
    """Floating-point operations to read or write one token: 2 a matrix weight, 4·H·N·T a layer of attention.

    The count of Chowdhery et al. (2022, appendix B): causal masking is not deducted, but a window is; the table
    lookup is free and a tied head counts as a matrix.
    """
    weights = _matrix_weights(cfg, ahead=False)
    if cfg.tie_embeddings:
        weights += cfg.vocab_size * cfg.d_model
    return 2 * weights + sum(_mixing_flops(cfg, layer, seq_len) + _stream_flops(cfg, layer) for layer in cfg.layers)


def _matrix_weights(cfg: ModelConfig, *, ahead: bool) -> int:
    """Counts the numbers of matrices that act on a token, either of those that foretell or of all others."""
    return sum(
        active
        for name, active in _active_parameters(cfg)
        if name[0].startswith("ahead_") == ahead and (name == ("head", "kernel") or role_of(name).group == "matrix")
    )


def _mixing_flops(cfg: ModelConfig, layer: Layer, seq_len: int) -> int:
    """Returns what the products of a mixer cost a token beyond those with its weights: of scores and values, or state.

    A state is decayed and written elementwise, which is not counted; that of `ssm` is read by a product.
    """
    if not layer.attends:
        return 2 * recurrent_width(cfg, "ssm") * cfg.recurrent.state_width if layer.mixer == "ssm" else 0
    seen = min(layer.window or seq_len, seq_len)
    return 2 * cfg.n_heads * (key_width(cfg, layer) + value_width(cfg, layer)) * seen


def _stream_flops(cfg: ModelConfig, layer: Layer) -> int:
    """Returns what reading and mixing parallel residual streams costs a token, in a layer's one or two branches.

    Their dynamic weights' matrix acts on each stream, one of which has been counted with the other matrices.
    """
    n = cfg.hyper_streams
    if n == 1:
        return 0
    weighing = (n - 1) * (n + 2) if cfg.hyper_dynamic else 0
    return 2 * cfg.d_model * (n + n * n + weighing) * (1 if layer.mlp == "none" else 2)


def cache_bytes(cfg: ModelConfig, slots: int) -> int:
    """Returns the bytes of what decoding keeps of `slots` tokens of one row."""
    return _bytes(jax.eval_shape(lambda: cache.empty(cfg, 1, slots)).layers)


def seen_bytes(cfg: ModelConfig, slots: int) -> int:
    """Returns the bytes of those that the next token's attention can see, windows having closed on the others."""

    def empty(layer: Layer) -> Any:
        return MIXERS[layer.mixer].empty(cfg, 1, min(layer.window or slots, slots))

    return sum(_bytes(jax.eval_shape(partial(empty, layer))) for layer in cfg.layers)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
