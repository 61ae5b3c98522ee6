"""Tokens per second of the loader on one core, from the page cache: `python -m benchmarks.loader [--seconds=2]`.

Random tokens in documents of about 1,000 tokens are written as shards in a temporary directory, then drawn in training
order (shuffled, two sources mixed), with targets, segments, positions and mask, for several window lengths.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lm.common.progress import quantity
from lm.data.readers.tokens import TokenDocument
from lm.data.shards import Examples, Shards, iterate, training_examples, write_token_shards
from lm.data.tokenizer import ids

VOCAB_SIZE = 32_000
TOKENS = 20_000_000


def documents(seed: int, tokens: int) -> Iterator[TokenDocument]:
    """Yields documents of 1 to 2,000 random tokens, `tokens` in all or just over."""
    rng = np.random.default_rng(seed)
    for number in range(2 * tokens):
        size = int(rng.integers(1, 2001))
        yield TokenDocument(str(number), rng.integers(0, VOCAB_SIZE, size), "random")
        tokens -= size
        if tokens <= 0:
            return


def rate(examples: Examples, size: int, seconds: float, *, through_grain: bool) -> float:
    """Returns tokens per CPU second of batches of `size` examples, drawn for about `seconds`."""
    plan = [(first, size) for first in range(0, 10**6 * size, size)]
    batches = iterate(examples, plan) if through_grain else (examples.batch(*entry) for entry in plan)
    next(batches)
    tokens, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        tokens += next(batches)["tokens"].size
    return tokens / (time.process_time() - cpu)


def main() -> None:
    """Prints a table: window length, shards per source, tokens per second and core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure each row")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ids.write(directory / "tokenizer", n_ids=VOCAB_SIZE, end_id=None, inputs={})
        print(f"{'shards':>6} {'window':>6} {'batch':>6} {'alone':>10} {'grain':>10}   tokens/s per core")
        for shard_tokens in (TOKENS, TOKENS // 100):
            output = directory / f"shards{shard_tokens}"
            sources = {"a": documents(0, TOKENS), "b": documents(1, TOKENS // 4)}
            write_token_shards(
                {"train": sources}, directory / "tokenizer", output, config={}, inputs={}, shard_tokens=shard_tokens
            )
            shards = Shards.open(output)
            files = sum(entry.name.endswith("-docs.jsonl") for entry in shards.manifest.files)
            for seq_len in (64, 256, 2048, 8192):
                examples = training_examples(shards, "train", seq_len=seq_len, seed=0)
                size = max(1, 65_536 // seq_len)
                alone, grain = (rate(examples, size, seconds, through_grain=through) for through in (False, True))
                print(f"{files:>6} {seq_len:>6} {size:>6} {quantity(alone):>10} {quantity(grain):>10}", flush=True)


if __name__ == "__main__":
    main()
