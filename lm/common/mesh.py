"""Meshes and sharding rules: the only module that knows how logical axes become mesh axes.

Every array dimension has a logical name (`heads`, `mlp`, `batch`, …), and `RULES` maps it to mesh axes. A dimension
that its mesh axes do not divide is an error, never a silent replication.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lm.common.errors import UserError

AXES = ("data", "fsdp", "tensor", "context", "pipeline", "expert")

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp", "expert"),
    "time": ("context",),
    "embed": ("fsdp",),
    "embed_activation": (),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "head_width": (),
    "latent": (),
    "positions": (),
    "pair": (),
    "streams": (),
    "mlp": ("tensor",),
    "recurrent": ("tensor",),
    "state": (),
    "gates": (),
    "taps": (),
    "expert": ("expert",),
    "choices": (),
    "vocab": ("tensor",),
    "layers": ("pipeline",),
    "alone": (),
}


def fill(sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Returns all sizes, unset ones as 1, but `data` as -1 where no other axis takes the devices that are left."""
    given = {axis: sizes[axis] for axis in AXES}
    rest = 1 if -1 in given.values() else -1
    return {axis: (rest if axis == "data" else 1) if size is None else size for axis, size in given.items()}


def make_mesh(sizes: Mapping[str, int | None], devices: Sequence[Any] | None = None) -> Mesh:
    """Builds the mesh over all devices; one size may be -1 and takes what is left, and so does `data` if it is unset.

    Devices that are neighbours on a TPU's network stand beside each other; of several slices, between which the network
    is slow, each is a part of `data`, or else of `pipeline` or `fsdp`.

    Raises:
        UserError: sizes that are no sizes, or do not multiply to the device count, or that slices do not fit into.
    """
    devices = jax.devices() if devices is None else devices
    wanted = fill(sizes)
    for axis, size in wanted.items():
        if size < 1 and size != -1:
            raise UserError(f"mesh.{axis}={size}: give a positive size, or -1 for the devices that are left")
    open_axes = [axis for axis, size in wanted.items() if size == -1]
    fixed = math.prod(size for size in wanted.values() if size != -1)
    if len(open_axes) > 1:
        raise UserError(f"mesh.{open_axes[1]}=-1: only one axis can take the devices that are left")
    if open_axes and len(devices) % fixed == 0:
        wanted[open_axes[0]] = len(devices) // fixed
    if math.prod(wanted.values()) != len(devices):
        shape = " × ".join(f"{axis} {size}" for axis, size in wanted.items() if size != 1)
        raise UserError(f"mesh: {shape or 'all axes 1'} does not fit {len(devices)} devices; set one axis to -1")
    return Mesh(_grid(devices, wanted), AXES, axis_types=(AxisType.Auto,) * len(AXES))


ACROSS_SLICES = ("data", "pipeline", "fsdp")  # by how seldom they speak, least first


def _grid(devices: Sequence[Any], sizes: Mapping[str, int]) -> np.ndarray:
    slices: dict[int, list[Any]] = {}
    for device in devices:
        slices.setdefault(getattr(device, "slice_index", 0), []).append(device)
    if len(slices) == 1:
        if devices[0].platform != "tpu":
            return np.asarray(devices, dtype=object).reshape(tuple(sizes.values()))
        return mesh_utils.create_device_mesh(tuple(sizes.values()), devices, allow_split_physical_axes=True)
    outer = next((axis for axis in ACROSS_SLICES if sizes[axis] % len(slices) == 0), None)
    if outer is None:
        raise UserError(
            f"mesh: {len(slices)} slices, whose number divides none of "
            f"{', '.join(f'mesh.{axis}={sizes[axis]}' for axis in ACROSS_SLICES)}; choose one that it does"
        )
    inner = {**sizes, outer: sizes[outer] // len(slices)}
    return np.concatenate([_grid(slices[number], inner) for number in sorted(slices)], axis=AXES.index(outer))


def batch_parts(mesh: Mesh) -> int:
    """Returns over how many devices the rows of a batch are split."""
    return math.prod(mesh.shape[axis] for axis in RULES["batch"])


def local_rows(mesh: Mesh, size: int) -> np.ndarray:
    """Returns which rows of a batch of `size` the devices of this process hold, in order."""
    where = NamedSharding(mesh, spec(("batch",))).addressable_devices_indices_map((size,))
    return np.unique(np.concatenate([np.arange(size)[index] for index in where.values() if index is not None]))


def split_rows(array: jax.Array, parts: int) -> jax.Array:
    """Turns `[B, ...]` into `[parts, B/parts, ...]`, taking every `parts`-th row so that each device keeps its own."""
    return array.reshape(array.shape[0] // parts, parts, *array.shape[1:]).swapaxes(0, 1)


def spec(axes: Sequence[str | None]) -> PartitionSpec:
    """Returns the partition of an array whose dimensions have these logical names."""
    return PartitionSpec(*(RULES[axis] or None if axis else None for axis in axes))


def shardings(mesh: Mesh, tree: Any, logical_axes: Any) -> Any:
    """Returns a `NamedSharding` for each leaf of `tree`, from its logical axes.

    Raises:
        UserError: a dimension that its mesh axes do not divide, with the parameter's name.
    """

    def leaf_sharding(path: tuple[Any, ...], leaf: Any, axes: tuple[str, ...]) -> NamedSharding:
        for size, axis in zip(leaf.shape, axes, strict=True):
            parts = math.prod(mesh.shape[name] for name in RULES[axis])
            if size % parts:
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                over = " × ".join(f"mesh.{name}={mesh.shape[name]}" for name in RULES[axis])
                raise UserError(f"{over} does not divide the {axis} dimension {size} of {name}; choose a divisor")
        return NamedSharding(mesh, spec(axes))

    return jax.tree_util.tree_map_with_path(leaf_sharding, tree, logical_axes)


def constrain(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """Pins an activation's sharding to its logical axes where a mesh of several devices is in force."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec(axes))


def shard_map(local: Callable[..., Any], *, in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    """Returns `local` run on each device's part, over the axes of the mesh in force that are not split by hand yet."""
    mesh = jax.sharding.get_abstract_mesh()
    free = {name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind != AxisType.Manual}
    return jax.shard_map(local, in_specs=in_specs, out_specs=out_specs, axis_names=free, check_vma=False)


def size(axis: str) -> int:
    """Returns how many devices the mesh in force has along an axis; 1 where there is none."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape[axis]


def divides(mesh: Any, partition: PartitionSpec, shape: Sequence[int]) -> bool:
    """Says whether the devices along each dimension of a partition divide it."""
    names = [(entry,) if isinstance(entry, str) else entry or () for entry in partition]
    parts = [math.prod(mesh.shape[axis] for axis in axes) for axes in names]
    return all(size % part == 0 for size, part in zip(shape, parts, strict=True))
