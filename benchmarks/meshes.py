"""Whether a mesh trains as one device does: `lm pretrain` on 8 simulated devices and on several processes.

python -m benchmarks.meshes --output=docs/tables/meshes.md

A row is a run of 30 steps in float32 at a peak rate of 3e-3, beside one of the same config on one device: whether every
batch is the same (by its hash), the relative difference of the first gradient's norm, the largest difference of a
step's loss, and how an array of each kind lies on the devices, as found in the run's sharding.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks import jobs

STEPS = 30
MODEL = {
    "model.n_layers": 4,
    "model.d_model": 64,
    "model.n_heads": 8,
    "model.n_kv_heads": 8,
    "model.max_seq_len": 64,
    "model.scan_layers": True,
    "train.steps": STEPS,
    "train.checkpoint_every": 0,
}
EXPERTS = {"model.moe.n_experts": 8, "model.moe.top_k": 2, "model.moe.d_ff": 32}
RING = {"model.attention_backend": "ring"}


class Case(NamedTuple):
    """A mesh, what of the model it needs beside that, and how many processes share the 8 devices."""

    mesh: dict[str, int]
    keys: Mapping[str, Any] = MappingProxyType({})
    processes: int = 1
    devices: int = 8


CASES = (
    Case({"data": 8}),
    Case({"fsdp": 8}),
    Case({"tensor": 8}),
    Case({"fsdp": 4, "tensor": 2}),
    Case({"context": 4, "data": 2}, RING),
    Case({"pipeline": 4, "data": 2}),
    Case({"pipeline": 2, "data": 4}, {"model.pipeline_repeats": 2}),
    Case({"expert": 4, "data": 2}, EXPERTS),
    Case({"data": 2, "fsdp": 2, "tensor": 2}),
    Case({"data": 2, "pipeline": 2, "tensor": 2}),
    Case({"data": 4, "fsdp": 2}, processes=2),
    Case({"fsdp": 4, "tensor": 2}, processes=4),
)
SHOWN = ("params.layers.block_0.mixer.q.kernel", "optimizer.mu.layers.block_0.mixer.q.kernel", "hidden", "logits")


def measure(case: Case, text: Path, folder: Path) -> list[str]:
    """Runs a case beside one device, and returns its row of the table."""
    alone = folder / ("alone-" + "-".join(sorted(case.keys)))
    keys = {**MODEL, **case.keys}
    if not alone.exists():
        jobs.run(text, alone, keys)
    name = " × ".join(f"{axis} {size}" for axis, size in case.mesh.items())
    workdir = folder / f"{name} {case.processes}"
    mesh = {f"mesh.{axis}": size for axis, size in case.mesh.items()}
    jobs.run(text, workdir, {**keys, **mesh}, processes=case.processes, devices=case.devices)
    hashes, norms, losses = (
        [jobs.column(one, name) for one in (workdir, alone)]
        for name in ("train/batch_hash", "train/grad_norm", "train/loss")
    )
    layout = json.loads((workdir / "sharding.json").read_text(encoding="utf-8"))
    lies = [_shard(layout, name) for name in SHOWN]
    return [
        f"{name}{f', {case.processes} processes' if case.processes > 1 else ''}",
        "same" if hashes[0] == hashes[1] and len(hashes[0]) == STEPS else "DIFFERENT",
        f"{abs(norms[0][0] / norms[1][0] - 1):.1e}",
        f"{max(abs(a - b) for a, b in zip(*losses, strict=True)):.1e}",
        *lies,
    ]


def _shard(layout: dict[str, Any], name: str) -> str:
    found = {**layout["state"], **layout["activations"]}[name]
    return f"{found['shape']} → {found['shard']}".replace(", ", "×")


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases, from 0")
    options = parser.parse_args()
    head = ["mesh", "batches", "first gradient", "losses", "query maps", "their first moments", "hidden", "logits"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    with tempfile.TemporaryDirectory() as folder:
        text = jobs.write_text(Path(folder) / "text.txt")
        for number in options.only or range(len(CASES)):
            lines.append("| " + " | ".join(measure(CASES[number], text, Path(folder))) + " |")
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
