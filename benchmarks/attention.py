"""Every attention backend and feature against a float64 sum: `python -m benchmarks.attention [--output=FILE]`.

For each pair the largest difference of the output and of the gradients by queries, keys and values is printed, or the
line by which the backend refuses the feature. The ring runs over four simulated devices, splash as its interpreted
kernel; where libtpu is installed, splash is also compiled, forward and backward, for a slice of a TPU that need not be
there. Queries come in groups, rows hold several documents.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model.attention import Places, Scores, attend, support
from lm.model.attention.scoring import alibi_slopes

ROWS, LENGTH, HEADS, KV_HEADS, WIDTH = 2, 160, 8, 2, 16
SCALE, WINDOW, SOFTCAP = 0.3, 37, 2.0
SINKS_H = np.linspace(-1.0, 2.0, HEADS)
CASES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "window": {"window": WINDOW},
    "softcap": {"softcap": SOFTCAP},
    "sinks": {"sinks_H": SINKS_H},
    "alibi": {"slopes_H": alibi_slopes(HEADS)},
}
TOPOLOGY = "v5e:4x4"

MEASURED = ("xla", "ring", "splash_interpret", "cudnn")  # splash itself is compiled, where there is a compiler


def problem() -> tuple[list[np.ndarray], Places]:
    """Draws queries, keys, values and an upstream gradient in float64, and documents of several lengths."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(ROWS, LENGTH, heads, WIDTH)) for heads in (HEADS, KV_HEADS, KV_HEADS, HEADS)]
    segments_BT = np.sort(rng.integers(1, 4, (ROWS, LENGTH)), axis=1)
    firsts_BT = np.stack([np.searchsorted(row, row) for row in segments_BT])
    return arrays, Places(segments_BT, np.arange(LENGTH) - firsts_BT)  # type: ignore[arg-type]


def written_out(q: jax.Array, k: jax.Array, v: jax.Array, places: Places, scores: Scores) -> jax.Array:
    """Computes attention with every head's keys repeated and every score made, in the dtype it is given."""
    k, v = (jnp.repeat(a, HEADS // KV_HEADS, axis=2) for a in (k, v))
    score = scores.scale * jnp.einsum("bthn,bshn->bhts", q, k)
    if scores.softcap:
        score = scores.softcap * jnp.tanh(score / scores.softcap)
    distance = jnp.asarray(places.positions_BT)[:, None, :, None] - jnp.asarray(places.positions_BT)[:, None, None, :]
    if scores.slopes_H is not None:
        score -= scores.slopes_H[:, None, None] * distance
    segments = jnp.asarray(places.segments_BT)
    seen = (segments[:, None, :, None] == segments[:, None, None, :]) & (distance >= 0)
    if scores.window:
        seen &= distance < scores.window
    weight = jnp.where(seen, jnp.exp(score), 0.0)
    total = weight.sum(axis=-1, keepdims=True)
    if scores.sinks_H is not None:
        total += jnp.exp(scores.sinks_H)[:, None, None]
    return jnp.einsum("bhts,bshn->bthn", weight / total, v)


def outcome(compute: Callable[..., jax.Array], arrays: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    """Returns the output and the gradients by queries, keys and values under the upstream gradient."""
    q, k, v, upstream = (jnp.asarray(array, dtype) for array in arrays)

    def objective(*qkv: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = compute(*qkv)
        return jnp.sum(out * upstream), out

    (_, out), grads = jax.jit(jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return [np.asarray(a, np.float64) for a in (out, *grads)]


def scores_of(case: str, dtype: str) -> Scores:
    """Returns how a case scores, what is by head in a dtype."""
    asked: dict[str, Any] = {
        key: jnp.asarray(value, dtype) if key.endswith("_H") else value for key, value in CASES[case].items()
    }
    return Scores(SCALE, **asked)


def errors(backend: str, case: str) -> tuple[float, float]:
    """Returns the largest difference of the output, and of the gradients, from the float64 sum.

    In the backend's widest dtype; both are given numbers that it can hold.
    """
    dtype = support.BACKENDS[backend].dtypes[0]
    arrays, places = problem()
    arrays = [np.asarray(jnp.asarray(array, dtype), np.float64) for array in arrays]
    with jax.enable_x64(True):
        scores = scores_of(case, "float64")
        expected = outcome(lambda q, k, v: written_out(q, k, v, places, scores), arrays, "float64")
    here = Places(*(jnp.asarray(a, jnp.int32) for a in places))
    scores = scores_of(case, "float32")

    def compute(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attend(backend, q, k, v, here, here, scores, aligned=True)

    mesh = meshes.make_mesh({axis: 4 if axis == "context" and backend == "ring" else 1 for axis in meshes.AXES},
                            jax.devices()[: 4 if backend == "ring" else 1])  # fmt: skip
    with jax.set_mesh(mesh):
        found = outcome(compute, arrays, dtype)
    differences = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    return differences[0], max(differences[1:])


def compiled_for_tpu(case: str) -> str:
    """Compiles splash forward and backward for a TPU slice; says how many kernels the program holds."""
    from jax.experimental import topologies

    devices: np.ndarray = np.asarray(topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices)
    mesh = Mesh(devices.reshape(4, 2, 2, 1, 1, 1), meshes.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 6)

    def shape(*dims: int, dtype: str = "bfloat16", heads: bool = True) -> jax.ShapeDtypeStruct:
        where = PartitionSpec(("data", "fsdp"), None, *(["tensor"] if heads else []))
        return jax.ShapeDtypeStruct(dims, dtype, sharding=NamedSharding(mesh, where))

    scores = scores_of(case, "float32")

    def objective(q: jax.Array, k: jax.Array, v: jax.Array, places: Places) -> jax.Array:
        return jnp.sum(attend("splash", q, k, v, places, places, scores, aligned=True).astype(jnp.float32))

    q, kv = shape(16, 1024, HEADS, 128), shape(16, 1024, KV_HEADS, 128)
    place: Any = shape(16, 1024, dtype="int32", heads=False)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        program = jax.jit(jax.grad(objective, argnums=(0, 1, 2))).lower(q, kv, kv, Places(place, place)).compile()
    kernels = (program.as_text() or "").count('custom_call_target="tpu_custom_call"')
    return f"{kernels} kernels, compiled for {TOPOLOGY}"


def rows(tpu: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yields backend, feature, and the errors forward and backward, or why there are none."""
    for backend in MEASURED:
        for case in CASES:
            try:
                support.check(backend, [case], support.BACKENDS[backend].dtypes[0])
                support.check_hardware(backend, jax.default_backend())
            except UserError as refusal:
                yield backend, case, "refused", str(refusal)
                continue
            forward, backward = errors(backend, case)
            yield backend, case, f"{forward:.1e}", f"{backward:.1e}"
    for case in CASES:
        if tpu and case in support.BACKENDS["splash"].features:
            yield "splash", case, compiled_for_tpu(case), ""


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    options = parser.parse_args()
    lines = ["| backend | feature | forward | backward |", "|---|---|---|---|"]
    for row in rows(tpu=importlib.util.find_spec("libtpu") is not None):
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Read when JAX first looks for devices: four on one CPU, and a TPU that is compiled for without being there.
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-16")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    main()
