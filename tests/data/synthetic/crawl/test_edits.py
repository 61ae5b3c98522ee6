"""Near-duplicates have the similarity that was wanted and the one that is said; leaks are edited lightly."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from lm.data.synthetic import World
from lm.data.synthetic.crawl import content, edits, similarity
from lm.data.synthetic.crawl.content import Block, Content
from lm.data.synthetic.grammar import Cast


def slow_similarity(one: str, other: str) -> float:
    """Counts common runs of five words with nested loops over lists."""
    runs = []
    for text in (one, other):
        words = re.findall(r"\w+", text.lower())
        runs.append([words[i : i + 5] for i in range(len(words) - 4)])
    first, second = ([run for i, run in enumerate(some) if run not in some[:i]] for some in runs)
    common = sum(run in second for run in first)
    return common / (len(first) + len(second) - common)


def test_similarity_is_the_jaccard_similarity_of_five_word_runs() -> None:
    one, other = "A b c d e f g. H i j", "a B c, d e f x h i j k"
    assert similarity(one, other) == slow_similarity(one, other) == pytest.approx(2 / 11)
    assert similarity(one, one) == 1
    assert similarity(one, "too short") == 0


@pytest.mark.parametrize("target", [0.5, 0.7, 0.85, 0.95, 0.99])
def test_near_duplicates_come_close_to_the_target(target: float) -> None:
    world = World(0)
    entities = world.entities("train")
    cast = Cast(random.Random(1), entities)
    documents = (document.text for document in world.documents(n=1000))
    reached = []
    for _ in range(30):
        original = content.clean(cast, documents)
        copy, found = edits.NearDuplicates(entities)(cast, original, target)
        assert found == pytest.approx(slow_similarity(original.text, copy.text))
        assert target - 0.03 <= found < 1 or target > 0.95
        assert all(planted.value in copy.text for planted in copy.pii)
        reached.append(found)
    assert abs(sorted(reached)[15] - target) < 0.04


def test_renaming_keeps_what_is_told_and_asked_true() -> None:
    """Whatever the edits, the answers about a story stay right: names change in it and in its questions alike."""
    entities = World(0).entities("train")
    people = entities.people[::400]
    stories = (f"{a} has a red kite. {a} is glad.\nQuestion: Who has the kite?\nAnswer: {a}" for a in people)
    original = Content("", tuple(Block("lines", story) for story in stories))
    renamed = set()
    for seed in range(10):
        copy, _ = edits.NearDuplicates(entities)(Cast(random.Random(seed), entities), original, 0.5)
        for block in copy.blocks:
            if block.kind == "lines":
                owner = block.text.split()[0]
                assert block.text.split().count(owner) == 3
                renamed.add(owner)
    assert len(renamed - set(people)) > 3


@pytest.mark.parametrize("edit", edits.LEAK_EDITS)
def test_leak_edits_are_light(edit: str) -> None:
    text = "Oak is red. Ash, by the river, is not.\nQuestion: Who has the lamp that hangs over Mirna's green door?"
    cast = Cast(random.Random(0), World(0).entities("train"))
    results = [edits.LEAK_EDITS[edit](cast, text) for _ in range(20)]
    assert any(result != text for result in results)
    words = text.split()
    for result in results:
        if edit in ("case", "punctuation", "spacing"):
            plain = [re.sub(r"\W", "", word).lower() for word in result.split()]
            assert plain == [re.sub(r"\W", "", word).lower() for word in words]
        else:
            kept = sum(1 for word in result.split() if word in words)
            assert kept >= len(words) - 2
            assert abs(len(result.split()) - len(words)) <= 1


def test_pages_that_have_nothing_to_do_with_each_other_are_dissimilar() -> None:
    world = World(0)
    cast = Cast(random.Random(1), world.entities("train"))
    documents = (document.text for document in world.documents(n=10_000))
    pages = [edits.shingles(content.clean(cast, documents).text) for _ in range(200)]
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(pages, 2)) < 0.2
