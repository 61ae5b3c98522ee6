"""Puts questions to a model and scores its answers by kind, each beside chance and a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lm.data.synthetic import Question
from lm.evals import graders

_Z_95 = 1.959964


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion (Wilson, 1927), which stays within [0, 1] at any n ≥ 1."""
    assert 0 <= successes <= n > 0, f"{successes} of {n}"
    p, z2 = successes / n, _Z_95**2
    centre = p + z2 / (2 * n)
    margin = _Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = ((centre + sign * margin) / (1 + z2 / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def score(
    generate: Callable[[list[str]], list[str]],
    questions: Sequence[Question],
    *,
    grade: Callable[[str, str], bool] = graders.matches,
) -> dict[str, Any]:
    """Asks every question and grades what comes back; `generate` maps prompts to completions, one each, in order.

    Returns JSON-able data: `overall` and, per kind, `by_kind[kind]`, each with `n`, `correct`, `accuracy`, `chance`
    (the mean over the questions of guessing among the plausible answers), `interval` (Wilson, 95 %) and
    `above_chance` (whether the whole interval is); and `answers`, one row per question in order.
    """
    assert questions, "no questions to score"
    completions = generate([question.prompt for question in questions])
    assert len(completions) == len(questions), f"{len(completions)} completions for {len(questions)} prompts"
    answers = [
        {
            "id": question.id,
            "kind": question.kind,
            "prompt": question.prompt,
            "answer": question.answer,
            "given": graders.first_line(completion),
            "correct": grade(completion, question.answer),
            "chance": question.chance,
        }
        for question, completion in zip(questions, completions, strict=True)
    ]
    kinds = dict.fromkeys(question.kind for question in questions)
    return {
        "overall": _summary(answers),
        "by_kind": {kind: _summary([row for row in answers if row["kind"] == kind]) for kind in kinds},
        "answers": answers,
    }


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    n, correct = len(rows), sum(row["correct"] for row in rows)
    chance = sum(row["chance"] for row in rows) / n
    low, high = wilson_interval(correct, n)
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "chance": chance,
        "interval": [low, high],
        "above_chance": low > chance,
    }
