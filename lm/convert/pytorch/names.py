"""Names and layouts of parameters in the PyTorch module, both ways, from the role each parameter has.

A linear map's `q.kernel` `[inputs..., outputs...]` is `q.weight` `[outputs, inputs]`, heads flattened; matrices that
stand side by side keep their number in front. A table `embed.table` is `embed.table.weight`, a linear map's bias is
flat, and everything else is as it is, under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lm.convert import flat
from lm.model.config import ModelConfig
from lm.model.roles import ROLES, Role, role_of

Shape = tuple[int, ...]


def torch_name(name: str) -> str:
    """Returns what the module calls the parameter of a flat name: `layers.3.mixer.q.weight`."""
    if _kernel(name) and name.endswith(".kernel"):
        return f"{name.removesuffix('.kernel')}.weight"
    return f"{name}.weight" if role_of(tuple(name.split("."))).group == "embedding" and not _kernel(name) else name


def to_torch(name: str, array: np.ndarray) -> np.ndarray:
    """Returns the parameter of a flat name as the module holds it."""
    kernel = _kernel(name)
    if kernel is None:
        return array
    members = array.shape[: kernel.members]
    if name.endswith(".bias"):
        return array.reshape(*members, -1)
    inputs = math.prod(array.shape[kernel.members : kernel.n_in])
    return np.ascontiguousarray(array.reshape(*members, inputs, -1).swapaxes(-1, -2))


def from_torch(name: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    """Returns what the module holds as the parameter of a flat name and its own shape."""
    kernel = _kernel(name)
    matrix = kernel is not None and not name.endswith(".bias")
    return np.ascontiguousarray((array.swapaxes(-1, -2) if matrix else array).reshape(shape))


def state_dict(cfg: ModelConfig, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns tensors by flat name under the module's names, in its layout."""
    return {torch_name(name): to_torch(name, array) for name, array in tensors.items()}


def flat_shapes(cfg: ModelConfig) -> dict[str, tuple[str, Shape, Shape]]:
    """Returns for each flat name the module's name, its shape there, and our own shape."""
    found = {}
    for name, shape in flat.shapes(cfg).items():
        theirs = to_torch(name, np.broadcast_to(np.float32(0), shape)).shape
        found[name] = (torch_name(name), theirs, shape)
    return found


def _kernel(name: str) -> Role | None:
    """Returns the role of the linear map that a kernel or a bias belongs to, if it does to one."""
    module, _, leaf = ".".join(name.split(".")[-2:]).partition(".")
    role = ROLES.get(f"{module}.kernel")
    return role if role and role.n_in and leaf in ("kernel", "bias") else None
