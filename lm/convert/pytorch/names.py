"""Names and layouts of parameters in the PyTorch module, both ways, from the role that each parameter has.

A linear map's `q.kernel` `[inputs..., outputs...]` is `q.weight` `[outputs, inputs]`, heads flattened; matrices that
stand side by side keep their number in front. A table `embed.table` is `embed.table.weight`, a linear map's bias is
flat, and everything else is as it is, under its own name.
"""

from __future__ import annotations

import math

import numpy as np

from lm.convert import flat
from lm.convert.hf.codecs import Ours, Shape, each
from lm.convert.hf.table import Row
from lm.model.config import ModelConfig
from lm.model.roles import ROLES, Role, role_of


def rows(cfg: ModelConfig) -> list[Row]:
    """Returns the name map of `cfg`: every tensor of the module, and of ours, once."""
    found = []
    for name, shape in flat.shapes(cfg).items():
        ours = (Ours(name, shape, role_of(tuple(name.split("."))).n_in),)
        found.append(Row((torch_name(name),), tuple(layout.shapes(ours, cfg)), ours, layout, cfg))
    return found


def torch_name(name: str) -> str:
    """Returns what the module calls the parameter of a flat name: `layers.3.mixer.q.weight`."""
    if _map(name) is not None:
        return name.replace(".kernel", ".weight")
    return f"{name}.weight" if role_of(tuple(name.split("."))).group == "embedding" else name


def _shape(one: Ours, cfg: ModelConfig) -> Shape:
    role = _map(one.name)
    if role is None:
        return one.shape
    if one.name.endswith(".bias"):
        return (*one.shape[: role.members], math.prod(one.shape[role.members :]))
    inputs, outputs = one.shape[role.members : role.n_in], one.shape[role.n_in :]
    return (*one.shape[: role.members], math.prod(outputs), math.prod(inputs))


def _read(array: np.ndarray, one: Ours, cfg: ModelConfig) -> np.ndarray:
    return (array.swapaxes(-1, -2) if _is_kernel(one.name) else array).reshape(one.shape)


def _write(array: np.ndarray, one: Ours, cfg: ModelConfig) -> np.ndarray:
    shape = _shape(one, cfg)
    if not _is_kernel(one.name):
        return array.reshape(shape)
    return array.reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)


layout = each("module", _shape, _read, _write)


def _map(name: str) -> Role | None:
    """Returns the role of the linear map whose kernel or bias this is, if it is one's."""
    module, leaf = name.split(".")[-2:]
    role = ROLES.get(f"{module}.kernel")
    return role if role and role.n_in and leaf in ("kernel", "bias") else None


def _is_kernel(name: str) -> bool:
    return _map(name) is not None and name.endswith(".kernel")
