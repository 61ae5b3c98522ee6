"""The bubble of the pipeline, counted and measured beside its formula, on simulated devices.

python -m benchmarks.pipeline --output=docs/tables/pipeline.md

Four simulated devices share this machine's cores, so that a gradient takes as long as the work of all of them, and a
stage that has nothing of use to do computes all the same. Beside it the same four devices compute the gradient without
a pipeline or anything else between them: each that of its share of the same micro-batches, through all layers. What the
layers take is the difference between a deep model and a shallow one, in which what is outside them cancels: table,
head, loss, and sums over stages. One less the quotient of the two differences is the share of the stages' work that is
of no use, and so of their time: the bubble. It is counted in operations, in the compiled programs, and measured in
seconds: the programs take turns, and the fastest run of each counts, as what else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lm.common import mesh as meshes
from lm.model import pipeline
from lm.model.config import ModelConfig
from lm.model.decoder import init
from lm.model.roles import logical_axes
from lm.study.plan import hlo
from lm.train.step import loss_sums

STAGES, ROWS, DEPTHS = 4, 8, (8, 24)  # rows of a micro-batch
MODEL = ModelConfig(
    vocab_size=64, n_layers=DEPTHS[0], n_heads=4, n_kv_heads=4, d_model=256, d_ff=704, head_width=64, max_seq_len=128,
    remat="block",  # else a pipeline, which keeps what all of its ticks made, would mostly wait for memory
)  # fmt: skip


class Program(NamedTuple):
    """Compiled calls that run at the same time, and the operations of their products on one device."""

    calls: Sequence[Callable[[], Any]]
    flops: float

    def seconds(self) -> float:
        """Runs it once."""
        start = time.perf_counter()
        jax.block_until_ready([call() for call in self.calls])
        return time.perf_counter() - start


def staged(model: ModelConfig) -> Program:
    """Returns the gradient over a pipeline."""
    mesh = meshes.make_mesh({axis: STAGES if axis == pipeline.AXIS else 1 for axis in meshes.AXES})
    params = init(model, jax.random.key(0))
    params = jax.device_put(params, meshes.shardings(mesh, params, logical_axes(params)))
    rows = ROWS * model.pipeline_microbatches
    batch = jax.device_put(_batch(rows), NamedSharding(mesh, PartitionSpec()))
    with jax.set_mesh(mesh):
        compiled: Any = jax.jit(partial(_gradient, model)).lower(params, batch).compile()
    return Program([partial(compiled, params, batch)], hlo.read(compiled.as_text()).flops())


def useful(model: ModelConfig) -> Program:
    """Returns each device's own gradient of its share of the same micro-batches, one after another."""
    share = model.pipeline_microbatches // STAGES

    def shared(params: Any, batch: Any) -> Any:
        parts = jax.tree.map(lambda a: meshes.split_rows(a, share), batch)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(
            lambda total, part: (jax.tree.map(jnp.add, total, _gradient(model, params, part)), None), zeros, parts
        )[0]

    calls, flops = [], 0.0
    for device in jax.devices()[:STAGES]:
        arguments = jax.device_put((init(model, jax.random.key(0)), _batch(ROWS * share)), device)
        compiled: Any = jax.jit(shared).lower(*arguments).compile()
        calls.append(partial(compiled, *arguments))
        flops = hlo.read(compiled.as_text()).flops()
    return Program(calls, flops)


def _gradient(model: ModelConfig, params: Any, batch: Any) -> Any:
    return jax.grad(lambda params: loss_sums(model, params, batch, None).nats)(params)


def _batch(rows: int) -> dict[str, np.ndarray]:
    tokens_BL = np.random.default_rng(0).integers(0, MODEL.vocab_size, (rows, MODEL.max_seq_len + 1), np.int32)
    ones_BT = np.ones((rows, MODEL.max_seq_len), np.int32)
    return {
        "tokens": tokens_BL[:, :-1],
        "targets": tokens_BL[:, 1:],
        "segments": ones_BT,
        "positions": ones_BT.cumsum(axis=1, dtype=np.int32) - 1,
        "loss_mask": ones_BT.astype(np.float32),
    }


class Found(NamedTuple):
    """A bubble as counted and as measured."""

    counted: float
    measured: float


def measure(microbatches: int, repeats: Sequence[int], rounds: int) -> list[Found]:
    """Returns the bubble of a batch of so many micro-batches, for each number of times round."""
    cases: list[list[Program]] = []  # the work of use, then each pipeline's, at each depth
    for depth in DEPTHS:
        model = replace(MODEL, n_layers=depth, pipeline_microbatches=microbatches)
        cases.append([useful(model), *(staged(replace(model, pipeline_repeats=each)) for each in repeats)])
    programs = [program for depth in cases for program in depth]
    for program in programs:
        program.seconds()  # the first run is slower
    taken = [min(times) for times in zip(*([p.seconds() for p in programs] for _ in range(rounds)), strict=True)]
    counts = [program.flops for program in programs]
    return [Found(*(_wasted(numbers, 1 + number) for numbers in (counts, taken))) for number in range(len(repeats))]


def _wasted(numbers: Sequence[float], which: int) -> float:
    """Returns the share of a pipeline's work on layers that is of no use, from what each program took."""
    half = len(numbers) // 2
    layers = [deep - shallow for shallow, deep in zip(numbers[:half], numbers[half:], strict=True)]
    return 1 - layers[0] / layers[which]


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each program")
    parser.add_argument("--microbatches", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    lines = [
        "| stages | micro-batches | times round | bubble, by formula | operations of no use | time of no use |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    print(*lines, sep="\n", flush=True)
    for microbatches in options.microbatches:
        found = measure(microbatches, options.repeats, options.rounds)
        for repeats, (counted, measured) in zip(options.repeats, found, strict=True):
            formula = pipeline.bubble(STAGES, microbatches, repeats)
            shares = (f"{100 * share:.1f} %" for share in (formula, counted, measured))
            lines.append(f"| {STAGES} | {microbatches} | {repeats} | {' | '.join(shares)} |")
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Read when JAX first looks for devices: four on one CPU.
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={STAGES}")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
