"""A small corpus with prose, code and several scripts, and a tokenizer of every kind trained on it."""

import random
from pathlib import Path

import pytest

from lm.data import tokenizer as tokenizers

_SENTENCES = (
    "The old miller walked slowly to the river, and the river was high.",
    "He didn't know what she'd say; they'll ask 12 questions or 345.",
    "def total(values):\n\tresult = 0\n    return sum(values) + result  # done",
    "Ein schöner Tag für die Bäckerin, naïve café.",
    "Все счастливые семьи похожи друг на друга.",
    "今日は良い天気です。明日も晴れるでしょう。",
)


def _corpus() -> list[str]:
    draw = random.Random(0)
    words = ["".join(draw.choices("aeioubdgklmnrst", k=draw.randint(2, 7))) for _ in range(300)]
    documents = []
    for _ in range(40):
        made = [" ".join(draw.choices(words, k=9)).capitalize() + "." for _ in range(6)]
        documents.append("\n\n".join(draw.sample([*_SENTENCES, *made], k=9)) + "\n")
    return documents


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return _corpus()


@pytest.fixture(scope="session")
def directories(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind in tokenizers.kinds():
        config = tokenizers.defaults()
        config.kind = kind
        made[kind] = tmp_path_factory.mktemp(kind)
        tokenizers.train(config, corpus, made[kind], inputs={})
    return made


@pytest.fixture(scope="session")
def trained(directories: dict[str, Path]) -> dict[str, tokenizers.Tokenizer]:
    return {kind: tokenizers.load(directory) for kind, directory in directories.items()}


@pytest.fixture(params=tokenizers.kinds())
def tokenizer(request: pytest.FixtureRequest, trained: dict[str, tokenizers.Tokenizer]) -> tokenizers.Tokenizer:
    """A tokenizer of each trained kind."""
    return trained[request.param]


@pytest.fixture(params=[kind for kind in tokenizers.kinds() if kind != "wordpiece"])
def lossless(request: pytest.FixtureRequest, trained: dict[str, tokenizers.Tokenizer]) -> tokenizers.Tokenizer:
    """A tokenizer of each kind that gives every text back."""
    return trained[request.param]
