"""Classifiers trained on the generated corpus: they come with this package, show the way, and know that corpus only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm.data.curate.classify import linear

_TEXTS, _UNSEEN = 3000, 1000  # the latter from templates of their own
INPUTS = {"generated corpus": f"{_TEXTS} texts, seed 0"}


def examples(kind: Any) -> Iterator[linear.Example]:
    """Returns the texts to train on."""
    from lm.data.synthetic.crawl import labelled

    return labelled(kind, "train", n=_TEXTS, seed=0)


def train(kind: Any, folder: Path, config: dict[str, Any]) -> None:
    """Trains the classifier of a kind into a folder, and measures it on templates that it has not seen."""
    from lm.data.synthetic.crawl import labelled

    unseen = labelled(kind, "test", n=_UNSEEN, seed=0)
    linear.train(examples(kind), folder, inputs=INPUTS, config=config, unseen=unseen)
