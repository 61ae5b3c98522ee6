"""A run directory as one object: everything it holds so far, finished or not, and the figures that follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lm.common import buckets, manifest
from lm.common.errors import UserError
from lm.common.metrics import read_metrics
from lm.data import prepare
from lm.train import run as runs
from lm.train.schedule import BatchPlan


@dataclass(frozen=True)
class Record:
    """What stands in a run directory; parts that a run has not come to yet are empty.

    Attributes:
        directory: the run directory.
        finished: whether the run was trained to its end.
        config: `config.json`.
        facts: `run.json`.
        metrics: the lines of `metrics.jsonl`, oldest first.
        samples: `samples.json`.
        evaluation: `eval.json`.
        tokenizer: counts of the tokenizer's manifest.
        shards: the directory of the token shards, or None where there is none.
        data: the shards' manifest, or None.
    """

    directory: Path
    finished: bool
    config: dict[str, Any]
    facts: dict[str, Any]
    metrics: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    evaluation: dict[str, Any]
    tokenizer: dict[str, Any]
    shards: Path | None
    data: manifest.Manifest | None

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.directory.resolve().name

    @property
    def imported(self) -> dict[str, Any]:
        """Where the model is from if it was trained elsewhere (`lm import`); empty otherwise."""
        return self.facts.get("imported", {})

    @property
    def steps(self) -> int:
        """The number of steps the run is to have."""
        return self.config["train"]["steps"]

    @property
    def step(self) -> int:
        """The last step that was logged; 0 before the first."""
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def tokens(self) -> int:
        """Tokens trained on so far."""
        return self.tokens_before(self.step)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, from the logged rates: compilation counts, evaluation and checkpoints do not."""
        rates = [line for line in self.metrics if line.get("tokens_per_second", 0) > 0]
        ends = [self.tokens_before(line["step"]) for line in rates]
        return sum(
            (end - start) / line["tokens_per_second"] for line, start, end in zip(rates, [0, *ends], ends, strict=False)
        )

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the steps at which `key` was logged and its values there, leaving out those that are not finite."""
        rows = [(line["step"], line[key]) for line in self.metrics if math.isfinite(line.get(key, math.nan))]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return np.array(steps, int), np.array(values, float)

    def last(self, key: str) -> tuple[int, float] | None:
        """Returns the last step at which `key` was logged and its value there, or None if it never was."""
        steps, values = self.series(key)
        return (int(steps[-1]), float(values[-1])) if len(steps) else None

    def tokens_before(self, step: int) -> int:
        train = self.config["train"]
        plan = BatchPlan(train["batch_size"], train["ramp"]["batch_size"], train["ramp"]["steps"])
        return plan.first_example(step) * self.config["model"]["max_seq_len"]


def read(directory: Path) -> Record:
    """Reads a run directory.

    Raises:
        UserError: there is no run, or one of its files is damaged.
    """
    config = runs.read_config(directory)
    made = manifest.find(directory / runs.TOKENIZER, "tokenizer")
    shards = _shards(directory, config)
    return Record(
        directory=directory,
        finished=runs.is_finished(directory),
        config=config,
        facts=read_json(directory / runs.RUN, {}),
        metrics=read_metrics(directory / runs.METRICS),
        samples=read_json(directory / runs.SAMPLES, []),
        evaluation=read_json(directory / runs.EVALUATION, {}),
        tokenizer={**made.config, **made.counts} if made else {},
        shards=shards,
        data=manifest.read(shards, "shard") if shards else None,
    )


def read_json(path: Path, absent: Any) -> Any:
    """Returns what a JSON file of a run holds, or `absent`, which is of the same type, where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return absent
    remedy = "remove the file and run the command that makes it"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); {remedy}") from error
    if not isinstance(found, type(absent)):
        raise UserError(f"{path}: holds a {type(found).__name__}, not a {type(absent).__name__}; {remedy}")
    return found


def _shards(directory: Path, config: Mapping[str, Any]) -> Path | None:
    """Finds the run's shards, as far as they are where they were."""
    own = directory / runs.SHARDS
    if own.is_dir():
        return own if (own / manifest.NAME).is_file() else None
    data = ConfigDict(config["data"])  # its path may be of text, in a folder with a manifest.json of its own
    if not prepare.is_shards(data):
        return None
    return buckets.fetched(data.path) if buckets.is_bucket(data.path) else Path(data.path)
