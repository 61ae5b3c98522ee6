"""How a tensor of a Hugging Face checkpoint and one of ours turn into each other: small exact inverses, by name.

A codec sees lists on both sides, for one tensor of theirs may hold several of ours (fused queries, keys and values)
and one of ours several of theirs (experts). What it needs to know beside the values stands in `Ours`: our shapes
`[in..., out...]` and how many dimensions go in. Only the order of numbers changes, never a value, so that reading
what was written gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lm.common.errors import UserError
from lm.model.config import ModelConfig
from lm.model.widths import rotary_width

Shape = tuple[int, ...]
Arrays = list[np.ndarray]


class Ours(NamedTuple):
    """One of our tensors: flat name, shape, and how many of its leading dimensions are contracted with the input."""

    name: str
    shape: Shape
    n_in: int

    @property
    def matrix(self) -> Shape:
        """The shape as `[inputs, outputs]`; a vector has one input."""
        return math.prod(self.shape[: self.n_in]), math.prod(self.shape[self.n_in :])


@dataclass(frozen=True)
class Codec:
    """A pair of inverse functions between their tensors and ours, as lists in the order of the entry's names.

    Attributes:
        name: for messages.
        shapes: returns the shapes of their tensors.
        read: theirs to ours.
        write: ours to theirs.
    """

    name: str
    shapes: Callable[[Sequence[Ours], ModelConfig], list[Shape]]
    read: Callable[[Arrays, Sequence[Ours], ModelConfig], Arrays]
    write: Callable[[Arrays, Sequence[Ours], ModelConfig], Arrays]


def each(
    name: str,
    shape: Callable[[Ours, ModelConfig], Shape],
    read: Callable[[np.ndarray, Ours, ModelConfig], np.ndarray],
    write: Callable[[np.ndarray, Ours, ModelConfig], np.ndarray],
) -> Codec:
    """Returns a codec that maps each tensor of theirs to one of ours, on its own."""
    return Codec(
        name,
        lambda ours, cfg: [shape(one, cfg) for one in ours],
        lambda arrays, ours, cfg: [read(a, one, cfg) for a, one in zip(arrays, ours, strict=True)],
        lambda arrays, ours, cfg: [write(a, one, cfg) for a, one in zip(arrays, ours, strict=True)],
    )


def _linear_shape(one: Ours, cfg: ModelConfig) -> Shape:
    inputs, outputs = one.matrix
    return (outputs, inputs) if one.n_in else (outputs,)


copy = each("copy", lambda one, cfg: one.shape, lambda a, one, cfg: a, lambda a, one, cfg: a)

# torch.nn.Linear: a kernel is [out, in] there and [in..., out...] here; a bias or another vector is flat there.
linear = each(
    "linear",
    _linear_shape,
    lambda a, one, cfg: a.T.reshape(one.shape),
    lambda a, one, cfg: a.reshape(one.matrix).T.reshape(_linear_shape(one, cfg)),
)

# torch.nn.Conv1d of each channel with itself: [channels, 1, taps] there, [taps, channels] here.
depthwise = each(
    "depthwise",
    lambda one, cfg: (one.shape[1], 1, one.shape[0]),
    lambda a, one, cfg: a[:, 0].T,
    lambda a, one, cfg: a.T[:, None],
)

# GPT-2's Conv1D: a kernel is [in, out] on both sides.
conv1d = each(
    "conv1d",
    lambda one, cfg: one.matrix if one.n_in else one.matrix[1:],
    lambda a, one, cfg: a.reshape(one.shape),
    lambda a, one, cfg: a.reshape(one.matrix if one.n_in else one.matrix[1:]),
)


def fused(part: Codec, axis: int = 0) -> Codec:
    """Returns the codec of one tensor that holds several of ours one after another along `axis`, each as `part`."""

    def shapes(ours: Sequence[Ours], cfg: ModelConfig) -> list[Shape]:
        parts = part.shapes(ours, cfg)
        whole = list(parts[0])
        whole[axis] = sum(shape[axis] for shape in parts)
        return [tuple(whole)]

    def read(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        ends = np.cumsum([shape[axis] for shape in part.shapes(ours, cfg)])[:-1]
        return part.read(np.split(arrays[0], ends, axis), ours, cfg)

    def write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        return [np.concatenate(part.write(arrays, ours, cfg), axis)]

    return Codec(f"fused {part.name}", shapes, read, write)


def _by_head_shapes(ours: Sequence[Ours], cfg: ModelConfig) -> list[Shape]:
    parts = linear.shapes(ours, cfg)
    return [(sum(shape[0] for shape in parts), *parts[0][1:])]


def _by_head_read(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
    heads, ends = ours[0].shape[-2], np.cumsum([one.shape[-1] for one in ours])
    whole_HNI = arrays[0].reshape(heads, ends[-1], -1)
    parts = np.split(whole_HNI, ends[:-1], axis=1)
    return [part_HNI.transpose(2, 0, 1).reshape(one.shape) for part_HNI, one in zip(parts, ours, strict=True)]


def _by_head_write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
    parts = [a.reshape(-1, *one.shape[-2:]).transpose(1, 2, 0) for a, one in zip(arrays, ours, strict=True)]
    return [np.concatenate(parts, axis=1).reshape(_by_head_shapes(ours, cfg)[0])]


# One linear map that makes all parts of the first head, then those of the second, and so on.
by_head = Codec("fused by head", _by_head_shapes, _by_head_read, _by_head_write)


def stacked(part: Codec) -> Codec:
    """Returns the codec of tensors that are one a member there (expert `{e}`) and stacked in one here, `[E, ...]`."""

    def member(one: Ours) -> Ours:
        return Ours(one.name, one.shape[1:], one.n_in - 1 if one.n_in else 0)

    def split(ours: Sequence[Ours]) -> tuple[int, Ours]:
        (one,) = ours
        return one.shape[0], member(one)

    def shapes(ours: Sequence[Ours], cfg: ModelConfig) -> list[Shape]:
        count, one = split(ours)
        return part.shapes([one] * count, cfg)

    def read(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        count, one = split(ours)
        return [np.stack(part.read(arrays, [one] * count, cfg))]

    def write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        count, one = split(ours)
        return part.write(list(arrays[0]), [one] * count, cfg)

    return Codec(f"stacked {part.name}", shapes, read, write)


def interleaved(part: Codec, width: Callable[[ModelConfig], int] = rotary_width) -> Codec:
    """Returns `part` for heads whose first `width` numbers are rotated as pairs of neighbours there.

    Ours are always rotated as halves: pair i is numbers 2i and 2i + 1 there, i and i + width / 2 here.
    """

    def order(one: Ours, cfg: ModelConfig) -> np.ndarray:
        r = width(cfg)
        return np.concatenate([halves(r), np.arange(r, one.shape[-1])])

    return reordered(f"interleaved {part.name}", part, order)


def halves(width: int) -> np.ndarray:
    """Returns where the numbers of pairs stand among neighbours, in the order of halves: 0, 2, 4, …, then 1, 3, 5, …"""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])


def reordered(name: str, part: Codec, order: Callable[[Ours, ModelConfig], np.ndarray], axis: int = -1) -> Codec:
    """Returns `part` where one dimension of our shape, by default the head's, is theirs in this order."""

    def read(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        return [np.take(a, order(one, cfg), axis) for a, one in zip(part.read(arrays, ours, cfg), ours, strict=True)]

    def write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        back = [np.take(a, np.argsort(order(one, cfg)), axis) for a, one in zip(arrays, ours, strict=True)]
        return part.write(back, ours, cfg)

    return Codec(name, part.shapes, read, write)


def constant(value: float) -> Codec:
    """Returns the codec of a tensor of ours that they do not have (`theirs=()`), since it is always `value` there."""

    def write(arrays: Arrays, ours: Sequence[Ours], cfg: ModelConfig) -> Arrays:
        for a, one in zip(arrays, ours, strict=True):
            if not (a == value).all():
                raise UserError(f"{one.name}: the format has no such tensor, so it must be {value:g} everywhere")
        return []

    return Codec(
        f"constant {value:g}",
        lambda ours, cfg: [],
        lambda arrays, ours, cfg: [np.full(one.shape, value, np.float32) for one in ours],
        write,
    )
