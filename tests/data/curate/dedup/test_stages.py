"""datatrove's stages give the survivors that one machine finds in memory, whatever the tasks and workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from lm.data.curate.dedup import NO_KEY, deduplicate
from lm.data.curate.dedup.stages import Cluster, Exchange, FindPairs, Sign

datatrove = pytest.importorskip("datatrove")
SIZES = [40, 0, 1, 3, 56]


def units(folder: Path, seed: int, columns: int, kinds: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Writes keys with clusters, chains and empty ones, and qualities with ties, as phase 1 of curation does."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, NO_KEY, kinds, np.uint64)
    names[0] = NO_KEY - 1
    keys = [rng.choice(names, (size, columns)) for size in SIZES]
    for unit in keys:
        unit[rng.random(len(unit)) < 0.1] = NO_KEY
    quality = [rng.choice([0.5, 1.0, np.nan], size) for size in SIZES]
    for number, (key, worth) in enumerate(zip(keys, quality, strict=True)):
        np.save(folder / f"keys{number}.npy", key)
        np.save(folder / f"quality{number}.npy", worth)
    return keys, quality


def stages(folder: Path, columns: int) -> tuple[Exchange, Sign, FindPairs, Cluster]:
    exchange = Exchange(str(folder / "exchange"), columns)
    keys, quality = (tuple(str(folder / f"{name}{n}.npy") for n in range(len(SIZES))) for name in ("keys", "quality"))
    return pickle.loads(pickle.dumps((exchange, Sign(exchange, keys), FindPairs(exchange), Cluster(exchange, quality))))


def labels(exchange: Exchange) -> list[list[int]]:
    return [np.load(exchange.labels(unit)).tolist() for unit in range(len(SIZES))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("columns", "kinds", "signers", "finders"), [(1, 30, 1, 1), (3, 250, 2, 1), (3, 250, 7, 4)])
def test_labels_are_those_of_one_machine(tmp_path, seed, columns, kinds, signers, finders):
    expected = deduplicate(*units(tmp_path, seed, columns, kinds))
    exchange, sign, find, cluster = stages(tmp_path, columns)
    for step, tasks in ((sign, signers), (find, finders * columns), (cluster, 1)):
        for rank in reversed(range(tasks)):
            step(None, rank, tasks)
    assert labels(exchange) == [unit.tolist() for unit in expected]
    assert len({label for unit in labels(exchange) for label in unit}) < sum(SIZES)


@pytest.mark.parametrize("workers", [1, 2])
def test_they_run_under_datatroves_executor(tmp_path, workers):
    from datatrove.executor import LocalPipelineExecutor

    expected = deduplicate(*units(tmp_path, 0, 2, 100))
    exchange, sign, find, cluster = stages(tmp_path, 2)
    for name, step, tasks in (("sign", sign, 2), ("find", find, 4), ("cluster", cluster, 1)):
        LocalPipelineExecutor([step], tasks=tasks, workers=workers, logging_dir=str(tmp_path / name)).run()
    assert labels(exchange) == [unit.tolist() for unit in expected]


def test_clusters_are_those_of_datatroves_third_stage(tmp_path):
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupCluster

    units(tmp_path, 1, 3, 250)
    exchange, sign, find, cluster = stages(tmp_path, 3)
    sign(None, 0, 1)
    for rank in range(3):
        find(None, rank, 3)
    cluster(None, 0, 1)
    config = MinhashConfig(num_buckets=3, hashes_per_bucket=1)
    theirs = MinhashDedupCluster(str(exchange.pairs), str(tmp_path / "theirs"), config, save_cluster_id=True)
    theirs.run(None, 0, 1)
    starts = np.cumsum([0, *SIZES])
    found = {}
    for file in (tmp_path / "theirs").glob("*.clusters"):
        for document, number in np.fromfile(file, "<u4").reshape(-1, 2).tolist():
            found[int(starts[int(file.stem)]) + document] = number
    flat = [label for unit in labels(exchange) for label in unit]
    sizes = np.bincount(flat, minlength=len(flat))
    assert set(found) == {number for number, label in enumerate(flat) if sizes[label] > 1}
    assert len(set(found.values())) == len({(found[number], flat[number]) for number in found}) == (sizes > 1).sum()
