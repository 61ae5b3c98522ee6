"""Every attention backend against the sum written out in float64, forward and backward; and what each refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jobs
from benchmarks.attention import CASES as CASES_MEASURED
from benchmarks.attention import MEASURED
from lm.common.errors import UserError
from lm.model.attention import Places, Scores, attend, support
from lm.model.attention.scoring import alibi_slopes
from lm.model.attention.xla import QUERY_BLOCK
from lm.model.config import AttentionBackend, ModelConfig
from tests.convert.hf.conftest import published

SCALE = 0.35
CASES = {
    "plain": Scores(SCALE),
    "window": Scores(SCALE, window=5),
    "softcap": Scores(SCALE, softcap=1.5),
    "sinks": Scores(SCALE, sinks_H=jnp.asarray([0.5, -1.0, 2.0, 0.0])),
    "alibi": Scores(SCALE, slopes_H=jnp.asarray(alibi_slopes(4))),
    "window, softcap and sinks": Scores(SCALE, window=7, softcap=1.5, sinks_H=jnp.asarray([0.5, -1.0, 2.0, 0.0])),
}


def problem(t: int, value_width: int = 8) -> tuple[list[np.ndarray], Places]:
    """Queries, keys, values and an upstream gradient; documents of several lengths in two rows."""
    rng = np.random.default_rng(t)
    arrays = [rng.normal(size=(2, t, heads, n)) for heads, n in ((4, 8), (2, 8), (2, value_width), (4, value_width))]
    segments = np.sort(rng.integers(1, 4, (2, t)), axis=1)
    positions = np.array([[i - list(row).index(s) for i, s in enumerate(row)] for row in segments])
    return arrays, Places(jnp.asarray(segments), jnp.asarray(positions))


def oracle(q: np.ndarray, k: np.ndarray, v: np.ndarray, places: Places, scores: Scores) -> np.ndarray:
    """One query and one head at a time, in float64."""
    segments, positions = (np.asarray(a) for a in places)
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for row, i, head in np.ndindex(*q.shape[:3]):
        shared = head * k.shape[2] // q.shape[2]
        distance = positions[row, i] - positions[row]
        seen = (segments[row] == segments[row, i]) & (distance >= 0)
        if scores.window:
            seen &= distance < scores.window
        score = scores.scale * (k[row, seen, shared] @ q[row, i, head])
        if scores.softcap:
            score = scores.softcap * np.tanh(score / scores.softcap)
        if scores.slopes_H is not None:
            score = score - float(scores.slopes_H[head]) * distance[seen]
        weight = np.exp(score)
        total = weight.sum() + (0.0 if scores.sinks_H is None else np.exp(float(scores.sinks_H[head])))
        out[row, i, head] = (weight / total) @ v[row, seen, shared]
    return out


def slope(arrays: list[np.ndarray], places: Places, scores: Scores, which: int, at: tuple[int, ...]) -> float:
    """The oracle's derivative by one number of q, k or v, from both sides."""
    ends = []
    for step in (1e-5, -1e-5):
        moved = [array.copy() for array in arrays[:3]]
        moved[which][at] += step
        ends.append(np.sum(arrays[3] * oracle(*moved, places, scores)))
    return (ends[0] - ends[1]) / 2e-5


def computed(backend: str, arrays: list[np.ndarray], places: Places, scores: Scores) -> tuple[jax.Array, tuple]:
    """A backend's output, and its gradients under the problem's upstream gradient."""
    q, k, v, upstream = (jnp.asarray(array, jnp.float32) for array in arrays)

    def objective(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = attend(backend, q, k, v, places, places, scores, aligned=True)
        return jnp.sum(out * upstream), out

    (_, out), grads = jax.jit(jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return out, grads


ALL = "window, softcap and sinks"
PAIRS = [("xla", case) for case in CASES] + [("ring", "alibi"), ("ring", ALL), ("splash_interpret", ALL)]


@pytest.mark.parametrize(("backend", "case"), PAIRS)
def test_a_backend_agrees_with_the_sum_written_out(backend: str, case: str) -> None:
    """Values, and derivatives at a few places, with groups of heads and documents that share a row."""
    arrays, places = problem(t=13)
    out, grads = computed(backend, arrays, places, CASES[case])
    np.testing.assert_allclose(out, oracle(*arrays[:3], places, CASES[case]), atol=3e-6)
    rng = np.random.default_rng(3)
    for which in range(3):
        for _ in range(4):
            at = tuple(rng.integers(0, n) for n in arrays[which].shape)
            expected = slope(arrays, places, CASES[case], which, at)
            np.testing.assert_allclose(grads[which][at], expected, atol=2e-5)


@pytest.mark.parametrize("backend", ["xla", "splash_interpret"])
def test_rows_longer_than_a_block_and_values_of_another_width(backend: str) -> None:
    scores = Scores(SCALE, window=40)
    arrays, places = problem(t=QUERY_BLOCK + 9, value_width=4)
    out, _ = computed(backend, arrays, places, scores)
    np.testing.assert_allclose(out, oracle(*arrays[:3], places, scores), atol=3e-6)


@pytest.mark.parametrize("case", ["plain", "window"])
def test_cudnn_agrees_with_the_sum_written_out(case: str) -> None:
    """To within the digits of bfloat16, padding left out: forward here, backward against `xla` on the same numbers."""
    if jax.default_backend() != "gpu":
        pytest.skip("cuDNN runs on GPUs")
    arrays, places = problem(t=64)
    arrays = [np.asarray(jnp.asarray(array, jnp.bfloat16).astype(jnp.float32), np.float64) for array in arrays]

    def rounded(backend: str) -> tuple[jax.Array, tuple]:
        q, k, v, upstream = (jnp.asarray(array, jnp.bfloat16) for array in arrays)

        def objective(*qkv: jax.Array) -> tuple[jax.Array, jax.Array]:
            out = attend(backend, *qkv, places, places, CASES[case], aligned=True)
            return jnp.sum((out * upstream).astype(jnp.float32)), out

        (_, out), grads = jax.jit(jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True))(q, k, v)
        return out, grads

    out, grads = rounded("cudnn")
    np.testing.assert_allclose(out.astype(jnp.float32), oracle(*arrays[:3], places, CASES[case]), atol=2e-2)
    for found, wanted in zip(grads, rounded("xla")[1], strict=True):
        np.testing.assert_allclose(found.astype(jnp.float32), wanted.astype(jnp.float32), atol=6e-2)


RING = """
import importlib.util, json, sys
import jax, numpy as np
from lm.common import mesh as meshes
spec = importlib.util.spec_from_file_location("test_attention", sys.argv[1])
tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)
mesh = meshes.make_mesh({"data": 1, "fsdp": 1, "tensor": 2, "context": 4, "pipeline": 1, "expert": 1})
arrays, places = tests.problem(t=16)
worst = {}
for name, scores in tests.CASES.items():
    alone = jax.tree.leaves(tests.computed("xla", arrays, places, scores))
    with jax.set_mesh(mesh):
        program = jax.jit(lambda: tests.computed("ring", arrays, places, scores)).lower().as_text()
        shared = jax.tree.leaves(tests.computed("ring", arrays, places, scores))
    assert "collective_permute" in program
    worst[name] = max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(alone, shared))
print(json.dumps(worst))
"""


def test_a_ring_of_four_equals_one_device() -> None:
    """Forward and backward, heads split over two devices and time over four."""
    done = subprocess.run(
        [sys.executable, "-c", RING, __file__],
        capture_output=True,
        text=True,
        env=jobs.simulated(8),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    worst = json.loads(done.stdout)
    assert worst.keys() == CASES.keys()
    assert max(worst.values()) < 3e-6


BASE = {
    "vocab_size": 8, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "d_model": 8, "d_ff": 8, "head_width": 8,
    "max_seq_len": 8, "dtype": "bfloat16",
}  # fmt: skip


def test_the_published_table_has_a_row_for_each_backend_and_feature() -> None:
    """`python -m benchmarks.attention --output=docs/tables/attention.md` writes it, with libtpu installed."""
    rows = [(backend, case) for backend in MEASURED for case in CASES_MEASURED]
    rows += [("splash", case) for case in CASES_MEASURED if case in support.BACKENDS["splash"].features]
    assert [tuple(row[:2]) for row in published("attention.md")] == rows


ASKED = {
    "grouped": {"n_kv_heads": 2},
    "window": {"window": (0, 4)},
    "softcap": {"attention_softcap": 30.0},
    "sinks": {"attention_sinks": True},
    "alibi": {"position": ("alibi", "none")},
}


@pytest.mark.parametrize("feature", ASKED)
@pytest.mark.parametrize("backend", support.BACKENDS)
def test_a_backend_takes_what_it_declares_and_refuses_the_rest_by_name(backend: str, feature: str) -> None:
    values = {**BASE, **ASKED[feature], "attention_backend": backend}
    if feature in support.BACKENDS[backend].features:
        ModelConfig(**values)
        return
    with pytest.raises(UserError, match=f"attention_backend={backend}: lacks {feature}") as error:
        ModelConfig(**values)
    assert "xla" in str(error.value)


def test_the_table_of_backends_is_the_configs() -> None:
    assert set(support.BACKENDS) == set(AttentionBackend.__args__)


def test_a_dtype_or_hardware_without_the_backend_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"attention_backend=cudnn: computes in bfloat16 or float16, not in model.dtype=float32"
    ):
        ModelConfig(**{**BASE, "attention_backend": "cudnn", "dtype": "float32"})
    with pytest.raises(UserError, match=r"attention_backend=splash: runs on tpu, and this is a cpu; choose one of xla"):
        support.check_hardware("splash", "cpu")
    support.check_hardware("splash", "tpu")


@pytest.mark.parametrize("width", [12, 136])
def test_heads_that_a_backend_cannot_take_are_refused(width: int) -> None:
    with pytest.raises(UserError, match=f"attention_backend=cudnn: takes heads whose .* at most 128, not {width}"):
        ModelConfig(**{**BASE, "attention_backend": "cudnn", "dtype": "bfloat16", "head_width": width})
    ModelConfig(**{**BASE, "attention_backend": "cudnn", "dtype": "bfloat16", "head_width": 128})


def test_slopes_of_alibi() -> None:
    """Powers of two as in the paper, and every other slope of twice as many heads for the rest."""
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    np.testing.assert_allclose(alibi_slopes(6), [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3])
