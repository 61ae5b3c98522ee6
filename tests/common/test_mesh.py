"""Meshes: sizes that cannot be are refused by name, one is inferred, and nothing is replicated in silence."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model.config import ModelConfig
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import abstract_state


@dataclass(frozen=True)
class Device:
    """What a mesh asks of what it arranges."""

    number: int
    slice_index: int = 0
    platform: str = "cpu"


DEVICES = [Device(number) for number in range(8)]


def make(**sizes: int) -> jax.sharding.Mesh:
    return meshes.make_mesh({axis: sizes.get(axis, 1) for axis in meshes.AXES}, DEVICES)


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ({"data": -1}, (8, 1, 1)),
        ({"data": -1, "fsdp": 2, "tensor": 2}, (2, 2, 2)),
        ({"data": 8, "fsdp": -1}, (8, 1, 1)),
        ({"data": 2, "tensor": -1}, (2, 1, 4)),
        ({"data": 4, "fsdp": 2}, (4, 2, 1)),
    ],
)
def test_one_size_takes_the_devices_that_are_left(sizes: dict[str, int], shape: tuple[int, ...]) -> None:
    made = make(**sizes).shape
    assert tuple(made[axis] for axis in ("data", "fsdp", "tensor")) == shape
    assert {made[axis] for axis in ("context", "pipeline", "expert")} == {1}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"expert": 0}, r"mesh\.expert=0: give a positive size, or -1"),
        ({"data": -1, "tensor": -1}, r"mesh\.tensor=-1: only one axis can take the devices that are left"),
        ({"fsdp": 0}, r"mesh\.fsdp=0: give a positive size, or -1"),
        ({"tensor": -2}, r"mesh\.tensor=-2: give a positive size, or -1"),
        ({"data": 3}, r"mesh: data 3 does not fit 8 devices; set one axis to -1"),
        ({"data": 4, "fsdp": 4}, r"mesh: data 4 × fsdp 4 does not fit 8 devices"),
        ({"data": -1, "tensor": 3}, r"tensor 3 does not fit 8 devices"),
        ({}, r"mesh: all axes 1 does not fit 8 devices"),
    ],
)
def test_sizes_that_cannot_be(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**sizes)


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [({}, (8, 1, 1)), ({"fsdp": 2}, (4, 2, 1)), ({"tensor": -1}, (1, 1, 8)), ({"fsdp": -1, "tensor": 2}, (1, 4, 2))],
)
def test_unset_axes_are_1_and_data_what_is_left(sizes: dict[str, int], shape: tuple[int, ...]) -> None:
    made = meshes.make_mesh({axis: sizes.get(axis) for axis in meshes.AXES}, DEVICES).shape
    assert tuple(made[axis] for axis in ("data", "fsdp", "tensor")) == shape


@pytest.mark.parametrize(
    ("sizes", "outer"),
    [({"data": 4, "fsdp": 2}, "data"), ({"data": 1, "pipeline": 2, "tensor": 4}, "pipeline"), ({"fsdp": 8}, "fsdp")],
)
def test_slices_are_parts_of_the_axis_that_speaks_least(sizes: dict[str, int], outer: str) -> None:
    """Whatever order the devices come in: only along that axis do neighbours belong to different slices."""
    devices = [Device(number, slice_index=number % 2) for number in range(8)]
    grid = meshes.make_mesh({axis: sizes.get(axis, 1) for axis in meshes.AXES}, devices).devices
    of_slice = np.vectorize(lambda device: device.slice_index)(grid)
    axis = meshes.AXES.index(outer)
    first, second = np.split(of_slice, 2, axis=axis)
    assert np.all(first == 0)
    assert np.all(second == 1)


def test_slices_that_fit_no_slow_axis_are_refused() -> None:
    devices = [Device(number, slice_index=number % 2) for number in range(8)]
    with pytest.raises(UserError, match=r"mesh: 2 slices, whose number divides none of mesh.data=1, mesh.pipeline=1"):
        meshes.make_mesh({axis: 8 if axis == "tensor" else 1 for axis in meshes.AXES}, devices)


def test_rows_of_a_process_are_those_of_its_devices() -> None:
    mesh = meshes.make_mesh(dict.fromkeys(meshes.AXES, 1))
    assert meshes.local_rows(mesh, 6).tolist() == list(range(6))


def test_shardings_follow_the_logical_axes() -> None:
    tree = {"kernel": jax.ShapeDtypeStruct((3, 6, 4, 5), jnp.float32)}
    placed = meshes.shardings(
        make(data=2, fsdp=2, tensor=2), tree, {"kernel": ("layers", "embed", "heads", "head_width")}
    )
    assert placed["kernel"].spec == PartitionSpec("pipeline", "fsdp", "tensor", None)


def test_the_parameter_that_a_mesh_does_not_divide_is_named() -> None:
    """Three heads of a model, over two tensor devices."""
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-3
    optimizer = Optimizer.from_config(cfg, cosine(3, 1, 0.1))
    model = ModelConfig(96, 2, 3, 3, 24, 64, 8, 16)
    with pytest.raises(
        UserError, match=r"mesh\.tensor=2 does not divide the kv_heads dimension 3 of layers/\S+/k/kernel; "
    ):
        abstract_state(model, optimizer, make(data=4, tensor=2))
    with pytest.raises(UserError, match=r"mesh\.fsdp=8 does not divide the embed dimension 20 of \S+; choose"):
        abstract_state(ModelConfig(96, 2, 1, 1, 20, 64, 20, 16), optimizer, make(fsdp=8))
