"""The world is a function of its seed; its splits share answers and wordings but no entity."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from lm.data.synthetic import World
from lm.data.synthetic.names import COLOURS, NUMBERS, entities
from lm.data.synthetic.scenes import KINDS


@pytest.fixture(scope="module")
def train() -> list[str]:
    return [document.text for document in World(0).documents("train", 10_000)]


def test_documents_are_the_same_on_every_run_and_for_every_n() -> None:
    fewer, more = (list(World(5).documents("train", n)) for n in (50, 200))
    assert fewer == more[:50]
    assert [document.id for document in fewer[:2]] == ["world-5/train/0000000", "world-5/train/0000001"]
    assert len({document.id for document in more}) == 200


def test_another_seed_is_another_world() -> None:
    one, two = ({d.text for d in World(seed).documents("train", 300)} for seed in (0, 1))
    assert not one & two
    assert entities(0, "test") != entities(1, "test")


def test_entities_of_train_and_test_are_disjoint_and_never_inside_one_another() -> None:
    seen, unseen = entities(0, "train"), entities(0, "test")
    for kind in ("people", "things", "places"):
        ours, theirs = getattr(seen, kind), getattr(unseen, kind)
        assert len(ours) > 10 * len(theirs) > 500
        assert len({*ours, *theirs}) == len(ours) + len(theirs)
    words = sorted([*seen, *unseen])
    assert not [(word, other) for word, other in itertools.pairwise(words) if other.startswith(word)]


def test_no_test_entity_occurs_in_training_documents(train: list[str]) -> None:
    everything = "\n".join(train)
    assert [entity for entity in entities(0, "test") if entity in everything] == []  # not even inside a word


def test_every_entity_of_a_question_is_a_test_entity() -> None:
    seen, unseen = (set(entities(0, split)) for split in ("train", "test"))
    for question in World(0).questions("test"):
        words = {form for word in re.findall(r"\w+", question.prompt) for form in (word, word.removesuffix("s"))}
        assert not words & seen
        assert words & unseen


def test_documents_are_short_and_plentiful(train: list[str]) -> None:
    lengths = [len(text) for text in train]
    assert min(lengths) >= 60
    assert max(lengths) <= 400
    assert len(set(train)) > 0.99 * len(train)
    assert all(text.isascii() and text == text.strip() and "{" not in text for text in train)


def test_questions_are_many_unique_and_balanced() -> None:
    questions = World(0).questions("test")
    assert len(questions) >= 500
    assert questions == World(0).questions("test")
    assert (
        len({question.prompt for question in questions})
        == len({question.id for question in questions})
        == len(questions)
    )
    counts = Counter(question.kind for question in questions)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_choices_hold_the_answer_once_and_give_the_chance_level() -> None:
    for question in World(0).questions("test"):
        assert question.prompt.endswith("\nAnswer:")
        assert question.choices.count(question.answer) == 1
        assert len(set(question.choices)) == len(question.choices) >= 2
        assert question.chance == 1 / len(question.choices)


def test_answers_that_are_no_entities_are_colours_numbers_or_yes_and_no(train: list[str]) -> None:
    answers = set(re.findall(r"Answer: (\w+)", "\n".join(train)))
    shared = {answer for answer in answers if answer.islower()}
    assert shared == {*COLOURS, *NUMBERS[1:], "yes", "no"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_fixed_answer_or_position_beats_chance(kind: str) -> None:
    """Neither the most common answer nor the n-th choice named in the prompt may be a way to the answer."""
    questions = [question for question in World(0).questions("test", 3000) if question.kind == kind]
    answers = Counter(question.answer for question in questions)
    chance = sum(question.chance for question in questions) / len(questions)
    margin = 0.12  # over three standard errors at 250 questions
    assert answers.most_common(1)[0][1] / len(questions) < chance + margin
    placed: Counter[int] = Counter()
    for question in questions:
        named = sorted(question.choices, key=question.prompt.find)
        placed[named.index(question.answer)] += 1
        placed[named[::-1].index(question.answer) - len(named)] += 1
    assert max(placed.values()) / len(questions) < chance + margin


def test_format_of_training_and_test_is_one(train: list[str]) -> None:
    """A prompt is word for word what a training document says up to its first answer."""
    pattern = re.compile(r"(?:[^\n]+\n)?Question: [^\n]+\nAnswer:")
    assert all(pattern.fullmatch(question.prompt) for question in World(0).questions("test"))
    asking = [text for text in train if "Question:" in text]
    assert 0.7 * len(train) < len(asking) < len(train)
    assert all(pattern.match(text) for text in asking)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split='dev': the world has train and test"):
        entities(0, "dev")  # type: ignore[arg-type]
