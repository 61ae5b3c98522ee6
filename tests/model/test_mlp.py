"""Feed-forward layers against their definitions, one number at a time, in float64."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from lm.model.config import Feedforward, ModelConfig
from lm.model.mlp import MLP, MLPS

CFG = ModelConfig(8, 1, 2, 2, 6, 10, 4, 8)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: float) -> float:
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def clamped(gate: float, up: float) -> float:
    gate, up = min(gate, 7.0), max(-7.0, min(up, 7.0))
    return gate * sigmoid(1.702 * gate) * (up + 1)


GATED: dict[str, Callable[[float, float], float]] = {
    "swiglu": lambda gate, up: gate * sigmoid(gate) * up,
    "swiglu_clamped": clamped,
    "geglu": lambda gate, up: gelu(gate) * up,
    "geglu_tanh": lambda gate, up: gelu_tanh(gate) * up,
    "reglu": lambda gate, up: max(gate, 0.0) * up,
}
ALONE: dict[str, Callable[[float], float]] = {
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
}


def test_every_name_has_its_definition_here() -> None:
    assert {*GATED, *ALONE, "none"} == set(get_args(Feedforward)) == {*MLPS, "none"}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [*GATED, *ALONE])
def test_definitions(kind: str, bias: bool) -> None:
    rng = np.random.default_rng(1)
    x = 3 * rng.normal(size=6)
    shapes = {"up": (6, 10), "down": (10, 6), **({"gate": (6, 10)} if kind in GATED else {})}
    params = {
        name: {"kernel": 2 * rng.normal(size=shape), **({"bias": rng.normal(size=shape[1])} if bias else {})}
        for name, shape in shapes.items()
    }

    def project(name: str, vector: np.ndarray) -> np.ndarray:
        return vector @ params[name]["kernel"] + params[name].get("bias", 0.0)

    if kind in GATED:
        hidden = [GATED[kind](g, u) for g, u in zip(project("gate", x), project("up", x), strict=True)]
    else:
        hidden = [ALONE[kind](u) for u in project("up", x)]
    out = MLP(dataclasses.replace(CFG, mlp_bias=bias), kind).apply(
        {"params": params}, jnp.asarray(x, jnp.float32)[None, None]
    )
    np.testing.assert_allclose(out[0, 0], project("down", np.array(hidden)), rtol=2e-4, atol=2e-4)
