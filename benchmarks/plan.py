"""What `lm plan --search` finds for large models on TPU slices that are not here: memory on paper and by the compiler.

python -m benchmarks.plan --output=docs/tables/plan.md

Needs libtpu (pip install 'lm[tpu]') and no TPU; minutes a row, most of them in the compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.study.plan import planner, report

CASES = (
    ("configs/pretrain/llama3_8b.py", "v5p:4x4x4"),
    ("configs/pretrain/llama3_8b.py", "v6e:16x16"),
    ("configs/pretrain/llama3_70b.py", "v5p:8x16x16"),
)
HEAD = ("config", "slice", "layout", "paper", "compiler", "step", "MFU", "compiled in")


def row(said: Mapping[str, Any]) -> str:
    """Returns a line of the table from what `lm plan --json` writes."""
    mesh = " × ".join(f"{axis} {size}" for axis, size in said["mesh"].items() if size > 1)
    paper, compiler = (said["memory_bytes_per_chip"][key] for key in ("paper", "compiler"))
    cells = (
        Path(said["config"]).stem,
        said["topology"],
        f"{mesh}, remat {said['remat']}, {said['microbatches']} micro-batches",
        f"{paper / 1e9:.1f} GB ({paper / compiler - 1:+.1%})",
        f"{compiler / 1e9:.1f} GB",
        f"{said['step_seconds']:.2f} s ± {said['error']:.0%}",
        f"{said['mfu']:.0%}",
        f"{said['compile_seconds']:.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def plan(config: str, topology: str, limit: float) -> dict[str, Any]:
    """Plans one case."""
    options = planner.Options(search=True, limit=limit)
    return report.as_json(planner.make(config, topology, options, lambda line: print(line, file=sys.stderr)))


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="a Markdown file")
    parser.add_argument("--only", help="a slice, such as v5p:4x4x4")
    parser.add_argument("--limit", type=float, default=480.0, help="seconds that compiling one row's layouts may take")
    options = parser.parse_args()
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for config, topology in CASES:
        if options.only in (None, topology):
            lines.append(row(plan(config, topology, options.limit)))
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"  # libtpu serves one process, and that is to be the one that compiles
    main()
