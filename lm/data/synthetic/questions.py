"""Questions with closed-form answers, and the one format in which stories, questions and answers are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ANSWER = "Answer:"


@dataclass(frozen=True)
class Question:
    """A prompt that ends with `Answer:`, its one right answer, and the answers a guesser would pick from."""

    id: str
    kind: str
    prompt: str
    answer: str
    choices: tuple[str, ...]

    @property
    def chance(self) -> float:
        """The accuracy of guessing among `choices`."""
        return 1 / len(self.choices)


def prompt(story: str, question: str) -> str:
    """Writes a story and a question up to where the answer begins; an empty story is left out."""
    return "\n".join([story] * bool(story) + [f"Question: {question}", ANSWER])


def transcript(story: str, answered: Iterable[tuple[str, str]]) -> str:
    """Writes a story followed by questions with their answers; up to the first answer it is `prompt`."""
    lines = [story] if story else []
    for question, answer in answered:
        lines += [f"Question: {question}", f"{ANSWER} {answer}"]
    return "\n".join(lines)
