"""What `lm plan --search` finds for large models on TPU slices that are not here: memory on paper and by the compiler.

python -m benchmarks.plan --output=docs/tables/plan.md

Needs libtpu (pip install 'lm[tpu]') and no TPU; minutes a row, most of them in the compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from lm.study.plan import planner, report

CASES = (
    ("configs/pretrain/llama3_8b.py", "v5p:4x4x4"),
    ("configs/pretrain/llama3_8b.py", "v6e:16x16"),
    ("configs/pretrain/llama3_70b.py", "v5p:8x16x16"),
)
HEAD = ("config", "slice", "layout", "paper", "compiler", "step", "MFU", "all in")


def row(config: str, topology: str, limit: float) -> tuple[str, ...]:
    """Plans one case and returns its row."""
    started = time.monotonic()
    plan = planner.make(
        config, topology, planner.Options(search=True, limit=limit), lambda line: print(line, file=sys.stderr)
    )
    took = time.monotonic() - started
    assert plan.compiled is not None
    paper, compiler = plan.chosen.memory.total, report.peak(plan.compiled)
    return (
        Path(config).stem,
        topology,
        str(plan.chosen.layout),
        f"{paper / 1e9:.1f} GB ({paper / compiler - 1:+.1%})",
        f"{compiler / 1e9:.1f} GB",
        f"{plan.seconds:.2f} s ± {plan.calibration.error:.0%}",
        f"{plan.mfu:.0%}",
        f"{took:.0f} s",
    )


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
            lines.append(f"| {' | '.join(row(config, topology, options.limit))} |")
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"  # libtpu serves one process, and that is to be the one that compiles
    main()
