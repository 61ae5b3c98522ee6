"""Near-duplicate removal on one machine against rensa's loop: `python -m benchmarks.dedup [--documents=20000]`.

Both read the same JSONL, sign, cluster and write what stays, with the same bands and rows; rensa's loop is run over
shingles of five words, as ours is, and over single words, which it would be cheapest for. Rounds alternate, and the
CPU seconds of the best round of each count. rensa keeps what it met first; ours the best, here also the first.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from lm.data.curate.dedup import PRESETS, MinHash, deduplicate, hash_words, survives

BATCH = 500


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


def ours(source: Path, target: Path, minhash: MinHash) -> int:
    """Removes near duplicates; returns how many documents stay."""
    lines = source.read_bytes().splitlines(keepends=True)
    keys = [minhash.band_keys(hash_words(batch)) for batch in _batches(json.loads(line)["text"] for line in lines)]
    (kept,) = survives(deduplicate([np.concatenate(keys)], [np.zeros(len(lines))]))
    with target.open("wb") as stream:
        stream.writelines(line for line, stays in zip(lines, kept, strict=True) if stays)
    return int(kept.sum())


def rensas(source: Path, target: Path, minhash: MinHash, ngram: int) -> int:
    """Removes near duplicates as rensa's documentation does: one sketch a document, insert, query."""
    from rensa import RMinHash, RMinHashLSH

    lines = source.read_bytes().splitlines(keepends=True)
    index = RMinHashLSH(threshold=0.8, num_perm=minhash.slots, num_bands=minhash.bands)
    kept = 0
    with target.open("wb") as stream:
        for number, line in enumerate(lines):
            words = json.loads(line)["text"].lower().split()
            if ngram > 1:
                words = [" ".join(words[n : n + ngram]) for n in range(len(words) - ngram + 1)]
            sketch = RMinHash(num_perm=minhash.slots, seed=minhash.seed)
            sketch.update(words)
            if not index.query(sketch):
                stream.write(line)
                kept += 1
            index.insert(number, sketch)
    return kept


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(texts, BATCH)):
        yield batch


def seconds(run: Callable[[], int]) -> tuple[float, int]:
    """Returns the CPU seconds of one run, and what it returned."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def main() -> None:
    """Prints a table: preset, documents kept, microseconds a document, and the ratio of ours to rensa's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--presets", default="fineweb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.jsonl", Path(name) / "out.jsonl"
        print(f"{options.documents} documents, {write_documents(source, options.documents)} MB")
        hash_words(["tables are built once"])
        for preset in options.presets.split(","):
            minhash = MinHash(*PRESETS[preset])
            runs: dict[str, Callable[[], int]] = {
                "ours": lambda minhash=minhash: ours(source, target, minhash),  # type: ignore[misc]
                "rensa, 5 words": lambda minhash=minhash: rensas(source, target, minhash, 5),  # type: ignore[misc]
                "rensa, 1 word": lambda minhash=minhash: rensas(source, target, minhash, 1),  # type: ignore[misc]
            }
            best = {name: min(found) for name, found in _alternate(runs, options.rounds).items()}
            for name, (taken, kept) in best.items():
                print(
                    f"{preset:>10} {name:<15} kept {kept}  {taken / options.documents * 1e6:8.1f} µs/document"
                    f"  ours / this {best['ours'][0] / taken:.2f}"
                )


def _alternate(runs: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[tuple[float, int]]]:
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(seconds(run))
    return found


if __name__ == "__main__":
    main()
