"""Small shard directories made of random documents, through a character tokenizer."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lm.data import tokenizer as tokenizers
from lm.data.readers import Document
from lm.data.shards import Shards, write_shards

Splits = Mapping[str, Mapping[str, Sequence[str]]]


@pytest.fixture(scope="session")
def random_texts() -> Callable[..., list[str]]:
    """Returns texts of 1 to `longest` characters, a function of the seed."""

    def make(seed: int, count: int, longest: int = 40) -> list[str]:
        rng = np.random.default_rng(seed)
        letters = np.array(list(string.ascii_lowercase + "\n"))
        return ["".join(rng.choice(letters, rng.integers(1, longest + 1))) for _ in range(count)]

    return make


@pytest.fixture(scope="session")
def char_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    config = tokenizers.defaults()
    config.kind = "char"
    tokenizers.train(config, [string.printable], directory, inputs={})
    return directory


@pytest.fixture
def make_shards(tmp_path: Path, char_dir: Path) -> Callable[..., Shards]:
    def make(
        splits: Splits,
        *,
        bos: bool = False,
        eos: bool = True,
        shard_tokens: int = 10**8,
        workers: int = 1,
        name: str = "shards",
    ) -> Shards:
        documents = {
            split: {
                source: [Document(f"{source}:{number}", text, source) for number, text in enumerate(texts)]
                for source, texts in sources.items()
            }
            for split, sources in splits.items()
        }
        output = tmp_path / name
        write_shards(
            documents,
            char_dir,
            output,
            config={},
            inputs={},
            bos=bos,
            eos=eos,
            shard_tokens=shard_tokens,
            workers=workers,
        )
        return Shards.open(output)

    return make
