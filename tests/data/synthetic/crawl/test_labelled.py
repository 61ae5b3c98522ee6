"""Labelled text is balanced and deterministic, and nothing but its vocabulary is shared between the splits."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from lm.data.synthetic import World
from lm.data.synthetic.crawl import LABELS, Truth, labelled
from lm.data.synthetic.crawl.content import WORDINGS
from lm.data.synthetic.crawl.labelled import Kind
from lm.data.synthetic.crawl.quality import CHATTER
from lm.data.synthetic.crawl.wordings import Wordings

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_balanced_and_follow_from_the_seed(kind: Kind) -> None:
    texts = list(labelled(kind, "train", 200, 0))
    assert sum(label for _, label in texts) == 100
    assert texts == list(labelled(kind, "train", 300, 0))[:200]
    assert texts != list(labelled(kind, "train", 200, 1))
    assert len({text for text, _ in texts}) > 190
    assert set(KINDS) == set(LABELS)


@pytest.mark.parametrize("wording", [*WORDINGS.values(), CHATTER], ids=[*WORDINGS, "chatter"])
def test_splits_share_no_template(wording: Wordings) -> None:
    train = {*wording.positive["train"], *wording.negative["train"]}
    test = {*wording.positive["test"], *wording.negative["test"]}
    assert not train & test
    assert len(train) == len(wording.positive["train"]) + len(wording.negative["train"])
    fixed = [{re.sub(r"\{\w+\}", "_", template).lower() for template in split} for split in (train, test)]
    assert not fixed[0] & fixed[1]


@pytest.mark.parametrize("kind", WORDINGS)
def test_templates_are_many(kind: str) -> None:
    wording = WORDINGS[kind]
    assert len(wording.positive["train"]) >= 40
    assert len(wording.positive["test"]) >= 15
    assert len(wording.negative["train"]) >= 20  # and the hard negatives of the other kinds, and prose
    assert len(wording.negative["test"]) >= 10


def test_splits_share_no_entity() -> None:
    entities = set(World(0).entities("train").people)
    people = []
    for split in ("train", "test"):
        words = re.findall(r"\w+", " ".join(text for kind in KINDS for text, _ in labelled(kind, split, 300, 0)))
        people.append(entities & set(words))
    assert min(map(len, people)) > 300
    assert not people[0] & people[1]


def test_a_linear_model_carries_over_to_unseen_templates(truth: Truth) -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    features = text.HashingVectorizer(ngram_range=(1, 2), n_features=2**15, alternate_sign=False)
    pages = truth.of("clean", "leak", "spam", "toxic", "adult", "low_quality")
    for kind, shown in (("toxicity", "toxic"), ("adult", "adult"), ("spam", "spam")):
        texts, labels = zip(*labelled(kind, "train", 1500, 0), strict=True)  # type: ignore[arg-type]
        model = linear.SGDClassifier(loss="log_loss", alpha=1e-6, random_state=0).fit(features.transform(texts), labels)
        found = model.predict(features.transform([page.text for page in pages]))
        assert metrics.f1_score([page.kind == shown for page in pages], found) >= 0.95, kind


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind='mood': there is labelled text for toxicity, adult, spam, quality"):
        next(labelled("mood", "train", 1, 0))  # type: ignore[arg-type]
