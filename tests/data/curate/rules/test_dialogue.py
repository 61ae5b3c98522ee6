"""What counts as a turn, and each limit on turns."""

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules.dialogue import Dialogue

from .texts import no_limits

CHAT = "Anna: Are you there?\nBen: I am here.\n  I was asleep.\nAnna: Good morning: it is late.\n"
PLAY = "First Citizen:\nSpeak, speak.\n\nAll:\nWe are resolved to die.\n"


def measured(text: str) -> dict[str, float]:
    return {rule.split(".")[1]: value for rule, value in Dialogue().measure(Document("f#0", text, "f")).items()}


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        (CHAT, 3),
        (PLAY, 2),
        ("A story first.\n" + CHAT, 3),
        ("Hi!\n\nHello there.\nHow are you?", 3),
        ("Note: this is one line.\nThe other is this.\nAnd this.", 3),
        ("10:30 is the time\n11:30 is the end", 2),
        ("Anna: Hi.\nBen:\nAnna: Bye.", 2),
        ("", 0),
    ],
)
def test_turns_go_from_speaker_to_speaker_or_are_lines(text: str, turns: int) -> None:
    assert measured(text)["min_turns"] == turns


def test_conversations_are_kept() -> None:
    for text in (CHAT, PLAY, "Hi!\nHello there.\nHow are you?"):
        assert isinstance(Dialogue()(Document("f#0", text, "f")), Document)


CASES = [
    ("min_turns", "Hi there.\nHello.", "Hi there. Hello.", 1),
    ("min_mean_turn_words", "a b\nc d", "a b\nc", 1.5),
    ("max_mean_turn_words", "a " * 128 + "\n" + "b " * 128, "a " * 128 + "\n" + "b " * 129, 128.5),
    ("min_letters", "abcdefg 123", "abcdef 123", 6 / 9),
    ("max_turns_with_link", "see http://a.b\n" + "no\n" * 4, "see www.a.b\n" + "no\n" * 3, 0.25),
    ("max_duplicate_turns", "\n".join("abcdefgaaa"), "\n".join("abcdefaaa"), 3 / 9),
]


@pytest.mark.parametrize(("limit", "on", "beyond", "value"), CASES, ids=[case[0] for case in CASES])
def test_limits(limit: str, on: str, beyond: str, value: float) -> None:
    threshold = getattr(Dialogue(), limit)
    rules = Dialogue(**no_limits(Dialogue) | {limit: threshold})
    assert isinstance(rules(Document("f#0", on, "f")), Document)
    assert rules(Document("f#0", beyond, "f")) == Dropped(f"dialogue.{limit}", pytest.approx(value), threshold)
