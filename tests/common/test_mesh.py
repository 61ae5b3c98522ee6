"""Meshes: sizes that cannot be are refused by name, one is inferred, and nothing is replicated in silence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model.config import ModelConfig
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import abstract_state

DEVICES = [object() for _ in range(8)]  # a mesh only arranges them


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
        ({"pipeline": 2}, r"mesh\.pipeline=2: this version shards over data, fsdp, tensor, context, expert; leave it"),
        ({"pipeline": -1}, r"mesh\.pipeline=-1: this version shards over"),
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


def test_shardings_follow_the_logical_axes() -> None:
    tree = {"kernel": jax.ShapeDtypeStruct((3, 6, 4, 5), jnp.float32)}
    placed = meshes.shardings(
        make(data=2, fsdp=2, tensor=2), tree, {"kernel": ("layers", "embed", "heads", "head_width")}
    )
    assert placed["kernel"].spec == PartitionSpec(None, "fsdp", "tensor", None)


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
