"""A state with the shapes of a real one, and a fresh interpreter to put it through."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.checkpoint import Checkpoints


class Moments(NamedTuple):
    mu: dict[str, jax.Array]
    count: jax.Array


def make_state(step: int, width: int = 8) -> dict[str, Any]:
    """A state with the shapes of a real one: nested dicts, a named tuple, a list, bfloat16, integers, scalars."""
    key = jax.random.key(step)
    params = {
        "embed": jax.random.normal(key, (width, 4)),
        "block": {"w": jax.random.normal(key, (2, 4, 4)).astype(jnp.bfloat16), "zero": jnp.zeros(3)},
    }
    moments = Moments(mu={"embed": jnp.full((width, 4), step / 7)}, count=jnp.int32(step))
    return {"params": params, "optimizer": [moments, jnp.uint32(step)], "step": jnp.int32(step)}


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), path
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), path


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    with Checkpoints(tmp_path / "checkpoints") as opened:
        yield opened


@pytest.fixture(name="make_state")
def _make_state() -> Callable[..., dict[str, Any]]:
    return make_state


@pytest.fixture(name="assert_same")
def _assert_same() -> Callable[[Any, Any], None]:
    return assert_same


@pytest.fixture(name="run_python")
def _run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    return run_python
