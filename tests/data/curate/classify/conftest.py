"""Labelled texts that words tell apart, at a rate that is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lm.data.curate.classify import linear

COMMON, MARKS = [f"word{i}" for i in range(200)], ["vile", "foul", "mean", "base", "dire"]
Example = tuple[str, int]


def toy(n: int, *, noise: float = 0.0, seed: int = 0) -> Iterator[Example]:
    """Every other text has four marks among common words; `noise` is the share of labels that are turned."""
    rng = random.Random(seed)
    for i in range(n):
        words = rng.choices(COMMON, k=20) + rng.sample(MARKS, 4) * (i % 2)
        rng.shuffle(words)
        yield " ".join(words), (i % 2) ^ (rng.random() < noise)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "toy"
    linear.train(toy(400), folder, inputs={"toy": ""}, config={})
    return folder


@pytest.fixture(scope="session")
def texts() -> Callable[..., Iterator[Example]]:
    return toy
