"""The same deduplication spread over machines: callables for datatrove's executors, and its own second stage.

Sign (any number of tasks), find pairs (one or more tasks a column), cluster (one task); documents are then filtered by
the labels written here, as they are after `clusters.deduplicate`, which returns the same. Our signatures are written
in datatrove's format with one 61-bit hash a band, 12 bytes for each document and band instead of 8 for every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm.common.manifest import attempt_id
from lm.data.curate.dedup.clusters import components, split, survivors
from lm.data.curate.dedup.hashing import NO_KEY

_SIGNATURE = np.dtype([("key", "<u8"), ("document", "<u4")])
_PAIR = np.dtype("<u4")
_BUFFERED_LINES = 4096


@dataclass(frozen=True)
class Exchange:
    """What the stages hand each other: a folder of their own, empty at first, and how many columns keys have."""

    folder: str
    columns: int

    @property
    def signatures(self) -> Path:
        """Where stage 1 writes `bucket_COLUMN/UNIT.minhash.sig`, sorted."""
        return Path(self.folder) / "signatures"

    @property
    def pairs(self) -> Path:
        """Where stage 2 writes `COLUMN_TASK.dups`."""
        return Path(self.folder) / "pairs"

    def labels(self, unit: int) -> Path:
        """Where stage 3 writes the labels [n] int64 of a unit."""
        return Path(self.folder) / "labels" / f"{unit:05d}.npy"


@dataclass(frozen=True)
class Sign:
    """Stage 1: sorts each unit's keys, `.npy` files of [n, columns] uint64, column by column."""

    exchange: Exchange
    keys: tuple[str, ...]

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Writes the units that fall to this task; what is written depends on the unit alone."""
        for unit in range(rank, len(self.keys), world_size):
            keys = np.load(self.keys[unit], mmap_mode="r")
            assert keys.shape[1] == self.exchange.columns, (self.keys[unit], keys.shape)
            for column in range(self.exchange.columns):
                self._write(unit, column, keys[:, column])

    def _write(self, unit: int, column: int, keys: np.ndarray) -> None:
        held = np.flatnonzero(keys != np.uint64(NO_KEY))
        order = held[np.argsort(keys[held], kind="stable")]
        signatures = np.empty(len(order), _SIGNATURE)
        signatures["key"], signatures["document"] = keys[order], order
        path = self.exchange.signatures / f"bucket_{column:03d}" / f"{unit:05d}.minhash.sig"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.exchange.signatures / f"{path.name}.{attempt_id()}.tmp"  # stage 2 reads all of its own folder
        signatures.tofile(temporary)
        temporary.replace(path)


@dataclass(frozen=True)
class FindPairs:
    """Stage 2, datatrove's: pairs of documents with a key in common; tasks must be a multiple of the columns."""

    exchange: Exchange

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Writes the pairs of one column, or of one range of its keys where a column has several tasks."""
        from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets

        class Buckets(MinhashDedupBuckets):
            """Cuts keys, which are uniform, into equal ranges: quantiles of one file fail where that file is short."""

            def get_worker_hash_range(self, sig_files: list[str], rank: int, world_size: int) -> tuple[int, int]:
                workers = world_size // self.config.num_buckets
                return NO_KEY * (rank % workers) // workers, NO_KEY * (rank % workers + 1) // workers

        Buckets(
            str(self.exchange.signatures),
            str(self.exchange.pairs),
            config=MinhashConfig(num_buckets=self.exchange.columns, hashes_per_bucket=1),
            lines_to_buffer=_BUFFERED_LINES,
        ).run(None, rank, world_size)


@dataclass(frozen=True)
class Cluster:
    """Stage 3, one task: clusters from pairs, and the same survivors as in memory; `quality` are `.npy` files."""

    exchange: Exchange
    quality: tuple[str, ...]

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Writes every unit's labels; holds 16 bytes a document and 8 a pair, merged as they are read."""
        assert world_size == 1, world_size
        quality = [np.load(path) for path in self.quality]
        sizes = [len(unit) for unit in quality]
        starts = np.cumsum([0, *sizes])
        clusters = components(self._edges(starts), int(starts[-1]))
        self.exchange.labels(0).parent.mkdir(parents=True, exist_ok=True)
        for unit, labels in enumerate(split(survivors(clusters, np.concatenate([*quality, np.zeros(0)])), sizes)):
            np.save(self.exchange.labels(unit), labels)

    def _edges(self, starts: np.ndarray) -> Iterator[np.ndarray]:
        files = sorted(self.exchange.pairs.glob("*.dups"))
        assert files, f"no pairs in {self.exchange.pairs}"
        assert len(files) % self.exchange.columns == 0, (len(files), self.exchange.columns)
        for file in files:
            pairs = np.fromfile(file, _PAIR).reshape(-1, 2, 2).astype(np.int64)  # (unit, document) twice
            yield starts[pairs[:, :, 0]] + pairs[:, :, 1]
