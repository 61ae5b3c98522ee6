"""Scores of models whose accuracy is known in advance."""

from __future__ import annotations

import json
import random

import pytest

from lm.data.synthetic import Question, World
from lm.evals import graders
from lm.evals.questions import score, wilson_interval


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return World(0).questions("test")


def test_a_model_that_knows_scores_one_and_one_that_does_not_zero(questions: list[Question]) -> None:
    book = {question.prompt: f" {question.answer}\nQuestion: and so on" for question in questions}
    knows = score(lambda prompts: [book[prompt] for prompt in prompts], questions)
    silent = score(lambda prompts: [""] * len(prompts), questions)
    assert knows["overall"]["accuracy"] == 1
    assert silent["overall"]["accuracy"] == 0
    assert all(kind["above_chance"] for kind in knows["by_kind"].values())
    assert not any(kind["above_chance"] for kind in silent["by_kind"].values())
    json.dumps(knows)


def test_guessing_among_the_choices_scores_chance(questions: list[Question]) -> None:
    rng = random.Random(0)
    choices = {question.prompt: question.choices for question in questions}
    result = score(lambda prompts: [rng.choice(choices[prompt]) for prompt in prompts], questions)["overall"]
    low, high = result["interval"]
    assert low < result["chance"] < high
    assert not result["above_chance"]


def test_kinds_add_up_and_rows_keep_the_order(questions: list[Question]) -> None:
    result = score(lambda prompts: [" yes"] * len(prompts), questions)
    kinds = result["by_kind"]
    assert sum(kind["n"] for kind in kinds.values()) == result["overall"]["n"] == len(questions)
    assert sum(kind["correct"] for kind in kinds.values()) == result["overall"]["correct"] == kinds["yes_no"]["correct"]
    assert 0 < kinds["yes_no"]["correct"] < kinds["yes_no"]["n"]
    assert [row["id"] for row in result["answers"]] == [question.id for question in questions]
    assert all(row["correct"] == (row["answer"] == "yes") for row in result["answers"])


def test_the_grader_is_the_callers_choice(questions: list[Question]) -> None:
    colours = [question for question in questions if question.kind == "colour"]
    shouted = [question.answer.upper() for question in colours]
    assert score(lambda prompts: shouted, colours)["overall"]["accuracy"] == 1
    assert score(lambda prompts: shouted, colours, grade=graders.exact)["overall"]["accuracy"] == 0


def test_a_model_must_answer_every_prompt(questions: list[Question]) -> None:
    with pytest.raises(AssertionError, match="1 completions for"):
        score(lambda prompts: ["yes"], questions)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_interval_of_known_proportions(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-4)
