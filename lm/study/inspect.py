"""What an architecture is made of and costs, as one object, as text and as JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax

from lm.common import mesh as meshes
from lm.common.columns import columns
from lm.common.progress import quantity, size
from lm.model import cost
from lm.model.config import Layer, ModelConfig
from lm.model.roles import logical_axes, path_names, role_of
from lm.study.footprint import Footprint, footprint
from lm.study.subject import Subject


@dataclass(frozen=True)
class Parameter:
    """One tensor of one layer, or of the model.

    Attributes:
        name: path within its group, with dots.
        axes: logical axis of each dimension.
        parts: over how many devices each dimension is split.
        init: how it starts, in words.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    parts: tuple[int, ...]
    init: str

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Group:
    """Parameters that come together: those outside the layers, or those that some layers all have.

    `kinds` are those layers' numbers, by what else is said of them.
    """

    parameters: tuple[Parameter, ...]
    kinds: dict[str, tuple[int, ...]]

    @property
    def count(self) -> int:
        """Numbers in the parameters of one layer."""
        return sum(parameter.count for parameter in self.parameters)


@dataclass(frozen=True)
class Inspection:
    """Everything that `lm inspect` says."""

    subject: Subject
    groups: tuple[Group, ...]
    context: int
    n_params: int
    active_params: int
    train_flops: int
    decode_flops: int
    cache_bytes: int
    state_bytes: int
    seen_bytes: int
    memory: Footprint


def inspect(subject: Subject, context: int = 0) -> Inspection:
    """Works out what a subject is made of and costs, with `context` tokens before a token (0: all it has room for).

    Raises:
        UserError: the mesh does not divide a parameter.
    """
    model = subject.model
    context = context or model.max_seq_len
    return Inspection(
        subject=subject,
        groups=_groups(subject),
        context=context,
        n_params=cost.n_params(model),
        active_params=cost.n_active_params(model),
        train_flops=cost.flops_per_token(model, context),
        decode_flops=cost.forward_flops(model, context),
        cache_bytes=cost.cache_bytes(model, context),
        state_bytes=cost.cache_bytes(model, 0),
        seen_bytes=cost.seen_bytes(model, context),
        memory=footprint(subject),
    )


def _groups(subject: Subject) -> tuple[Group, ...]:
    """Returns the parameters outside the layers and those of each stack, in the order of a forward pass."""
    model, shapes = subject.model, cost.parameter_shapes(subject.model)
    placed = meshes.shardings(subject.mesh, shapes, logical_axes(shapes))
    axes = jax.tree.leaves(logical_axes(shapes), is_leaf=lambda node: isinstance(node, tuple))
    found: dict[str, list[Parameter]] = {}
    leaves = zip(jax.tree_util.tree_leaves_with_path(shapes), axes, jax.tree.leaves(placed), strict=True)
    for (path, leaf), names, sharding in leaves:
        full = path_names(path)
        at = 2 if full[0] == "layers" else 0  # the stack's name, before which nothing tells parameters apart
        skip = int(at > 0)  # the dimension that the layers are stacked along
        split = [whole // part for whole, part in zip(leaf.shape, sharding.shard_shape(leaf.shape), strict=True)]
        shape = leaf.shape[skip:]
        parameter = Parameter(".".join(full[at:]), shape, names[skip:], tuple(split[skip:]), _init(full, shape, model))
        found.setdefault(full[1] if at else full[0], []).append(parameter)
    body: dict[tuple[Parameter, ...], dict[str, tuple[int, ...]]] = {}
    for stack in model.stacks:
        kinds, kind = body.setdefault(tuple(found.pop(stack.name)), {}), describe(stack.layer)
        kinds[kind] = tuple(sorted((*kinds.get(kind, ()), *stack.numbers)))
    first, last = tuple(found.pop("embed")), tuple(itertools.chain(*found.values()))
    layers = [Group(parameters, kinds) for parameters, kinds in body.items()]
    return (Group(first, {}), *layers, *([Group(last, {})] if last else []))


def _init(path: tuple[str, ...], shape: tuple[int, ...], model: ModelConfig) -> str:
    role = role_of(path)
    if role.start is not None:
        return role.start.__name__.strip("_").replace("_", " ")
    return f"normal {role.std(shape, model):.3g}"


def describe(layer: Layer) -> str:
    """Returns what sets a layer apart, in a few words."""
    said = [layer.mixer]
    if layer.attends:
        said[0] += f" over {layer.window} tokens" if layer.window else ""
        said.append(f"{layer.position} {quantity(layer.theta)}" if layer.position == "rope" else layer.position)
        said = [part for part in said if part != "none"]
    if layer.mlp != "none":
        said.append(f"{layer.n_experts} experts of {layer.mlp}" if layer.n_experts else layer.mlp)
    return ", ".join(said)


def numbers(layers: Sequence[int]) -> str:
    """Returns numbers in order as ranges, those in the middle of many left out: `0–4, 6–10, … 24–25`."""
    runs: list[list[int]] = []
    for number in layers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(said if len(said) < 4 else [*said[:2], f"… {said[-1]}"])


def text(found: Inspection) -> str:
    """Returns the inspection for a terminal."""
    rows = [["parameter", "shape", "axes", "starts", "count"]]
    headings: dict[int, list[str]] = {}
    for group in found.groups:
        headings[len(rows)] = [""][len(rows) == 1 :] + [
            f"layer{'s' if len(layers) > 1 else ''} {numbers(layers)} ({len(layers)} × {group.count:,}): {kind}"
            for kind, layers in group.kinds.items()
        ]
        rows += [_row(parameter, indent="  " if group.kinds else "") for parameter in group.parameters]
    lines = []
    for i, line in enumerate(columns(rows, right={4})):
        lines += headings.get(i, [])
        lines.append(line)
    return "\n".join([f"{found.subject.name}\n", *lines, "", *_summary(found)])


def _row(parameter: Parameter, indent: str) -> list[str]:
    shape = " × ".join(map(str, parameter.shape)) or "1"
    axes = " × ".join(
        axis + (f"/{part}" if part > 1 else "") for axis, part in zip(parameter.axes, parameter.parts, strict=True)
    )
    return [indent + parameter.name, shape, axes, parameter.init, f"{parameter.count:,}"]


def _summary(found: Inspection) -> list[str]:
    subject, memory = found.subject, found.memory
    rows = [["parameters", f"{found.n_params:,}"]]
    if found.active_params != found.n_params:
        rows[0][1] += f", of which {found.active_params:,} work on a token"
    flops = f"{quantity(found.train_flops)} to train on it, {quantity(found.decode_flops)} to read or write it"
    rows.append(["FLOPs a token", f"{flops}, {found.context:,} tokens in view"])
    rows.append(["cache", _cache(found)])
    devices = subject.mesh.size
    spread = " × ".join(f"{axis} {count}" for axis, count in subject.mesh.shape.items() if count > 1)
    rows.append(["mesh", f"{devices} devices: {spread}" if devices > 1 else "1 device"])
    sequences = f"{subject.rows} × {subject.seq_len:,} tokens"
    if memory.activations is None:
        about, activations = "at least", f"not estimated for {subject.model.attention_backend}, {sequences}"
    else:
        about, activations = "about", f"about {size(memory.activations)}, {sequences}"
    rows += [
        ["to train", f"{about} {size(memory.total)}{' a device' if devices > 1 else ''}"],
        ["  parameters", size(memory.parameters)],
        ["  gradients", size(memory.gradients)],
        [f"  {subject.config.optimizer.name}", size(memory.optimizer)],
        ["  activations", activations],
    ]
    if subject.note:
        rows.append(["assumed", subject.note])
    return columns(rows)


def _cache(found: Inspection) -> str:
    """Says what decoding keeps of a row: a token, in all, and what windows leave in view."""
    each = (found.cache_bytes - found.state_bytes) // found.context
    parts = [f"{size(each)} a token"] if each else []
    if found.state_bytes:
        parts.append(f"{size(found.state_bytes)} whatever the length")
    if each:
        parts.append(f"{size(found.cache_bytes)} for {found.context:,} ({found.subject.model.dtype})")
    if found.seen_bytes != found.cache_bytes:
        parts.append(f"of which windows leave {size(found.seen_bytes)} in view")
    return ", ".join(parts)


def as_json(found: Inspection) -> dict[str, Any]:
    """Returns the inspection as plain data."""
    subject = found.subject
    groups = [
        {
            "layers": group.kinds,
            "parameters": [{**asdict(parameter), "count": parameter.count} for parameter in group.parameters],
        }
        for group in found.groups
    ]
    figures = {
        name: getattr(found, name)
        for name in (
            *("context", "n_params", "active_params", "train_flops", "decode_flops"),
            *("cache_bytes", "state_bytes", "seen_bytes"),
        )
    }
    memory = {**asdict(found.memory), "total": found.memory.total, "rows": subject.rows, "tokens": subject.seq_len}
    said = {"subject": subject.name, "note": subject.note, "mesh": dict(subject.mesh.shape)}
    return {**said, "model": asdict(subject.model), "groups": groups, **figures, "memory": memory}
