"""What follows from a config about widths, where 0 stands for a value that others give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm.model.config import Layer, ModelConfig


def uses_rope(c: ModelConfig) -> bool:
    """Says whether any layer rotates its queries and keys."""
    return any(layer.attends and layer.position == "rope" for layer in c.layers)


def rotates_heads(c: ModelConfig) -> bool:
    """Says whether any layer rotates queries and keys of its heads, rather than a part that they share."""
    return any(layer.by_head and layer.position == "rope" for layer in c.layers)


def recurrent_width(c: ModelConfig, mixer: str) -> int:
    """Returns how many channels a recurrent mixer has: `recurrent.width`, or the model's, twice that for `ssm`."""
    return c.recurrent.width or (2 * c.d_model if mixer == "ssm" else c.d_model)


def recurrent_blocks(c: ModelConfig) -> int:
    """Returns how many blocks the gates of `linear` have: `recurrent.blocks`, or one a head."""
    return c.recurrent.blocks or c.n_heads


def step_rank(c: ModelConfig) -> int:
    """Returns the rank of the map to the steps of `ssm`: `recurrent.step_rank`, or a sixteenth of the width."""
    return c.recurrent.step_rank or -(-c.d_model // 16)


def width_of_its_own(c: ModelConfig) -> bool:
    """Says whether a GRU or LSTM is of another width than the model, so that a matrix leads back."""
    return any(layer.mixer in ("gru", "lstm") for layer in c.layers) and recurrent_width(c, "gru") != c.d_model


def rotary_width(c: ModelConfig) -> int:
    """Returns how many of a head's numbers are rotated, where it is not latent attention's."""
    return int(c.head_width * c.rope.fraction)


def key_width(c: ModelConfig, layer: Layer) -> int:
    """Returns how wide the queries and keys of a head are where a layer attends."""
    return c.head_width + (c.latent.rope_width if layer.mixer == "latent" else 0)


def value_width(c: ModelConfig, layer: Layer) -> int:
    """Returns how wide the values are that a head reads where a layer attends."""
    if layer.mixer == "latent":
        return c.latent.value_width or c.head_width
    return 2 * c.head_width if layer.mixer == "differential" else c.head_width
