"""The bubble of the pipeline, measured beside its formula, on simulated devices.

python -m benchmarks.pipeline --output=docs/tables/pipeline.md

Four simulated devices share this machine's cores, so a step takes as long as the work of all of them: a stage that has
nothing of use to do computes all the same. The same step with the batch split over the four devices does the useful
work alone. One less the quotient of the two times is the share of work, and so of a stage's time, that is the bubble;
steps of the two kinds take turns, and the median quotient counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lm.common import mesh as meshes
from lm.model import pipeline
from lm.model.config import ModelConfig
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import init_state
from lm.train.step import make_step, place

STAGES, ROWS, ROUNDS = 4, 4, 9
MODEL = ModelConfig(
    vocab_size=64, n_layers=8, n_heads=4, n_kv_heads=4, d_model=256, d_ff=704, head_width=64, max_seq_len=128
)


def stepper(model: ModelConfig, sizes: dict[str, int], rows: int) -> Callable[[], float]:
    """Returns what takes one step on a mesh, and says how many seconds it took."""
    cfg = pretrain().optimizer
    cfg.peak_lr = 1e-4
    optimizer = Optimizer.from_config(cfg, cosine(100, 1, 0.1))
    mesh = meshes.make_mesh({axis: sizes.get(axis, 1) for axis in meshes.AXES})
    rng = np.random.default_rng(0)
    tokens_BL = rng.integers(0, model.vocab_size, (rows, model.max_seq_len + 1), np.int32)
    ones_BT = np.ones((rows, model.max_seq_len), np.int32)
    batch: dict[str, Any] = {
        "tokens": tokens_BL[:, :-1],
        "targets": tokens_BL[:, 1:],
        "segments": ones_BT,
        "positions": ones_BT.cumsum(axis=1, dtype=np.int32) - 1,
        "loss_mask": ones_BT.astype(np.float32),
        "index": np.arange(rows, dtype=np.int32),
    }
    step, state = make_step(model, optimizer, mesh, seed=0), [init_state(model, optimizer, mesh, seed=0)]

    def take() -> float:
        with jax.set_mesh(mesh):
            start = time.perf_counter()
            state[0], metrics = step(state[0], place(batch, mesh, rows))
            jax.block_until_ready(metrics)
            return time.perf_counter() - start

    take()  # compiles
    return take


def measure(microbatches: int) -> float:
    """Returns the bubble of a batch of so many micro-batches."""
    rows = ROWS * microbatches
    staged = stepper(replace(MODEL, pipeline_microbatches=microbatches), {"pipeline": STAGES}, rows)
    split = stepper(MODEL, {"data": STAGES}, rows)
    return 1 - statistics.median(split() / staged() for _ in range(ROUNDS))


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    options = parser.parse_args()
    lines = ["| stages | micro-batches | bubble, by formula | measured |", "|--:|--:|--:|--:|"]
    for microbatches in (4, 8, 16):
        formula, found = pipeline.bubble(STAGES, microbatches), measure(microbatches)
        lines.append(f"| {STAGES} | {microbatches} | {100 * formula:.1f} % | {100 * found:.1f} % |")
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Read when JAX first looks for devices: four on one CPU.
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={STAGES}")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
