"""Logits of our models beside Hugging Face's own: `python -m benchmarks.hf_parity [--families=...] [--output=...]`.

Every family of `benchmarks.hf_specimens` is drawn at random, written by Hugging Face and read by us (import), then our
parameters are shuffled, written by us and read by Hugging Face (export). Texts of several lengths go through both in
float32 on the CPU, alone and as a left-padded batch, with and without a cache. Differences are the largest, relative
to the largest logit; those with a cache are from Hugging Face's and from our own without. A second table plants
mistakes in what was imported, and says how far each takes the logits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.hf_compare import TOLERANCE, Result, measure
from benchmarks.hf_specimens import SPECIMENS
from benchmarks.hf_teeth import PLANTED, Bench


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Yields the lines of a Markdown table, one a family, and below it the near-ties."""
    yield "| Family | Layers | Lengths | Import | Export | Padded | Cached | Greedy |"
    yield "|---|--:|---|--:|--:|--:|--:|---|"
    for name, result in results.items():
        gaps = result.differences
        imported, cached = max(gaps["within"], gaps.get("past", 0.0)), max(gaps["cached"], gaps["itself"])
        padded = f"{gaps['padded']:.1e}" if "padded" in gaps else "none"
        same = f"{result.tokens - len(result.ties) - len(result.wrong)} of {result.tokens}"
        lengths = ", ".join(map(str, result.lengths))
        numbers = f"{imported:.1e} | {gaps['export']:.1e} | {padded} | {cached:.1e}"
        yield f"| {name} | {result.layers} | {lengths} | {numbers} | {same} |"
    yield ""
    for name, result in results.items():
        yield from (f"- {name}: near-tie at {place}" for place in result.ties)
        yield from (f"- {name}: WRONG TOKEN at {place}" for place in result.wrong)


def teeth(differences: Mapping[str, float]) -> Iterator[str]:
    """Yields the lines of a Markdown table, one a planted error."""
    yield "| Planted error | Family | Difference |"
    yield "|---|---|--:|"
    for name, value in differences.items():
        yield f"| {name} | {PLANTED[name].specimen} | {value:.1e} |"


def main() -> None:
    """Prints the tables; exits with 1 if a family is not within the tolerance or a planted error is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default="", help="comma-separated names; all if left out")
    parser.add_argument("--output", type=Path, help="a directory for hf_parity.md and hf_teeth.md")
    args = parser.parse_args()
    results, differences = {}, {}
    for name in args.families.split(",") if args.families else SPECIMENS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            results[name] = measure(SPECIMENS[name], Path(directory))
        print(
            f"{name}: {'good' if results[name].good else 'NOT GOOD'}, {time.perf_counter() - start:.0f} s", flush=True
        )
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        for name, planted in PLANTED.items():
            if planted.specimen in results:
                differences[name] = bench.difference(planted)
    tables = {"hf_parity.md": [*table(results)], "hf_teeth.md": [*teeth(differences)]}
    for name, lines in tables.items():
        print("\n".join(lines), end="\n\n")
        if args.output:
            (args.output / name).write_text("\n".join(lines).strip() + "\n", encoding="utf-8")
    failed = [name for name, result in results.items() if not result.good]
    failed += [name for name, value in differences.items() if value <= TOLERANCE]
    if failed:
        raise SystemExit(f"on the wrong side of {TOLERANCE:g}: {', '.join(failed)}")


if __name__ == "__main__":
    main()
