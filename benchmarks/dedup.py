"""Near-duplicate removal on one machine against rensa's loop: `python -m benchmarks.dedup [--documents=20000]`.

Ours is what `lm curate` does with the steps ("dedup",) and one worker: documents are read, keyed and written,
clustered, read back and written again, those that go beside those that stay; exact duplicates are looked for too.
rensa's loop reads the same JSONL, sketches, queries, inserts and writes what stays, with the same bands and rows; it is
run over shingles of five words, as ours is, and over single words, which it would be cheapest for. Rounds take turns,
each run in a process of its own; of each kind the best round counts, in CPU time and in elapsed time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lm.data.curate import recipe
from lm.data.curate.dedup import PRESETS
from lm.data.curate.ledger import Receipts
from lm.data.curate.phases import Finish, Prepare
from lm.data.curate.read import list_files

OURS = "lm"
Run = Callable[[Path, Path], int]


class Spent(NamedTuple):
    """CPU and elapsed seconds of a run, and how many documents stayed."""

    cpu: float
    elapsed: float
    kept: int


def write_documents(path: Path, documents: int, words: int = 330) -> int:
    """Writes documents of about 2 kB, each tenth one a copy of another with every fiftieth word changed; returns MB."""
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    texts: list[list[str]] = []
    with path.open("w") as stream:
        for number in range(documents):
            if number % 10 == 9:
                text = list(rng.choice(texts))
                for place in rng.sample(range(words), words // 50):
                    text[place] = rng.choice(vocabulary)
            else:
                text = rng.choices(vocabulary, k=words)
                texts.append(text)
            stream.write(json.dumps({"id": number, "text": " ".join(text)}) + "\n")
    return path.stat().st_size // 10**6


def ours(source: Path, target: Path, preset: str) -> int:
    """Removes near duplicates as a curation of one step; returns how many documents stay."""
    cfg = recipe.defaults()
    cfg.input, cfg.steps, cfg.dedup.preset = str(source), ("dedup",), preset
    recipe.check(cfg)
    job = recipe.make_job(cfg, target)
    assert job.dedup is not None
    units = job.write_units(list_files(cfg.input))
    for rank in range(units):
        Prepare(job)(None, rank, units)
    for phase in job.dedup.phases(target, units):
        for rank in range(phase.tasks):
            phase.run(None, rank, phase.tasks)
    for rank in range(units):
        Finish(job)(None, rank, units)
    return sum(Receipts(target, "finish").get(rank).counts["kept"] for rank in range(units))


def rensas(source: Path, target: Path, preset: str, ngram: int) -> int:
    """Removes near duplicates as rensa's documentation does: one sketch a document, insert, query."""
    from rensa import RMinHash, RMinHashLSH

    bands, rows = PRESETS[preset]
    index = RMinHashLSH(threshold=0.8, num_perm=bands * rows, num_bands=bands)
    kept = 0
    with source.open("rb") as lines, target.open("wb") as stream:
        for number, line in enumerate(lines):
            words = json.loads(line)["text"].lower().split()
            if ngram > 1:
                words = [" ".join(words[n : n + ngram]) for n in range(len(words) - ngram + 1)]
            sketch = RMinHash(num_perm=bands * rows, seed=0)
            sketch.update(words)
            if not index.query(sketch):
                stream.write(line)
                kept += 1
            index.insert(number, sketch)
    return kept


def measured(run: Run, source: Path, target: Path) -> Spent:
    """Runs it in a process forked from this one, in which all tables and modules are ready."""
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()

    def measure() -> None:
        cpu, start = time.process_time(), time.perf_counter()
        kept = run(source, target)
        found.put(Spent(time.process_time() - cpu, time.perf_counter() - start, kept))

    process = context.Process(target=measure)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the run ended with {process.exitcode}")
    return found.get()


def main() -> None:
    """Prints a table: preset, documents kept, microseconds a document, and the ratio of ours to each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--presets", default="fineweb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, few = folder / "in.jsonl", folder / "few.jsonl"
        print(f"{options.documents} documents, {write_documents(source, options.documents)} MB")
        write_documents(few, 100)
        for preset in options.presets.split(","):
            runs: dict[str, Run] = {
                OURS: partial(ours, preset=preset),
                "rensa, 5 words": partial(rensas, preset=preset, ngram=5),
                "rensa, 1 word": partial(rensas, preset=preset, ngram=1),
            }
            for kind, run in runs.items():  # imports and tables, once
                run(few, folder / f"warm {preset} {kind}")
            found: dict[str, list[Spent]] = {kind: [] for kind in runs}
            for number in range(options.rounds):
                for kind, run in runs.items():
                    found[kind].append(measured(run, source, folder / f"{number} {preset} {kind}"))
            show(preset, found, options.documents)


def show(preset: str, found: dict[str, list[Spent]], documents: int) -> None:
    """Prints the best of each kind of run."""
    best = {kind: Spent(*map(min, zip(*spent, strict=True))) for kind, spent in found.items()}
    for kind, (cpu, elapsed, kept) in best.items():
        print(
            f"{preset:>10} {kind:<15} kept {kept:>7}"
            f"  CPU {cpu / documents * 1e6:8.1f} µs/document, lm / this {best[OURS].cpu / cpu:.2f}"
            f"  elapsed {elapsed / documents * 1e6:8.1f} µs/document, lm / this {best[OURS].elapsed / elapsed:.2f}"
        )


if __name__ == "__main__":
    main()
