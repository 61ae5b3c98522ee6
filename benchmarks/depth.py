"""What depth costs the compiler: seconds and memory of this machine, for models of ever more layers.

python -m benchmarks.depth --output=docs/tables/depth.md

Layers that are stacked are compiled once, whatever their number. Each row compiles the training step of a model ahead
of time, in a process of its own, as `lm plan` does; a column's last number is its quotient to the shallowest model's.
The depths take turns, and the fastest of the rounds counts: what else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lm.study import subject
from lm.study.plan import compile as compiler
from lm.study.plan.compile import Compiled
from lm.study.plan.layout import of_config

CONFIG, DEPTHS, ROUNDS = "configs/pretrain/llama3_8b.py", (4, 16, 64), 3
# Narrow enough to be compiled in seconds; what is constant does not depend on the width.
CHANGES: dict[str, Any] = {
    "model.vocab_size": 32_000,
    "tokenizer.vocab_size": 32_000,
    "model.d_model": 512,
    "model.d_ff": 1408,
    "model.n_heads": 8,
    "model.n_kv_heads": 4,
    "model.head_width": 64,
    "model.max_seq_len": 1024,
    "train.batch_size": 8,
}
PLACES: dict[str, dict[str, Any]] = {"cpu": {"model.attention_backend": "xla"}, "v5e:2x2": {"mesh.fsdp": 4}}


def compiled(topology: str, depth: int) -> Compiled:
    """Compiles the step of a model of so many layers."""
    changes = {**CHANGES, "model.n_layers": depth, **PLACES[topology]}
    found = subject.find(CONFIG, changes=changes, devices=4 if topology != "cpu" else 1)
    _, layout = of_config(found.config, found.model, dict(found.mesh.shape))
    return compiler.compile_step(found.config, topology, layout)


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    lines = ["| for | layers | compiled in | memory of this machine |", "|---|--:|--:|--:|"]
    for topology in PLACES:
        found: dict[int, list[Compiled]] = {depth: [] for depth in DEPTHS}
        for _ in range(options.rounds):
            for depth in DEPTHS:
                found[depth].append(compiled(topology, depth))
        seconds = {depth: min(each.seconds for each in some) for depth, some in found.items()}
        room = {depth: min(each.host_bytes for each in some) for depth, some in found.items()}
        for depth in DEPTHS:
            lines.append(
                f"| {topology} | {depth} | {seconds[depth]:.1f} s ({seconds[depth] / seconds[DEPTHS[0]]:.2f}×) | "
                f"{room[depth] / 1e9:.2f} GB ({room[depth] / room[DEPTHS[0]]:.2f}×) |"
            )
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
