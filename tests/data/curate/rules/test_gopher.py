"""Each of Gopher's limits, met and missed by as little as there is."""

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules import from_config
from lm.data.curate.rules.base import RuleSet
from lm.data.curate.rules.gopher import GopherQuality, GopherRepetition

from .texts import no_limits


def only(kind: type[RuleSet], **limits: object) -> RuleSet:
    """Returns the rule set with these limits alone."""
    return kind(**no_limits(kind) | limits)


def judged(rules: RuleSet, text: str) -> Dropped | None:
    result = rules(Document("f#0", text, "f"))
    return result if isinstance(result, Dropped) else None


QUALITY = [
    # (limit, a text on it, a text beyond it, the value of that)
    ("min_words", "word , " * 50, "word , " * 49, 49),
    ("max_words", "word " * 100_000, "word " * 100_001, 100_001),
    ("min_mean_word_length", "an four . ", "an four if . ", 8 / 3),
    ("max_mean_word_length", "abcdefghij , !", "abcdefghijk , !", 11),
    ("max_hashes_per_word", "# " + "word " * 9, "# " + "word " * 8, 1 / 9),
    ("max_ellipses_per_word", "... " + "word " * 9, "… " + "word " * 8, 1 / 9),
    ("max_bullet_lines", "- a\n" * 5 + " • a\n" * 4 + "a", "- a\n" * 19 + "a", 0.95),
    ("max_ellipsis_lines", "a...\nb… \nc ...\n" + "d\n" * 7, "a...\nb…\nc\nd ...\n" + "e\n" * 5, 1 / 3),
    ("min_words_with_letter", "a b c d4 !", "a b c d4 ! 5", 4 / 6),
    ("min_stop_words", "to be , be", "The be be", 1),
]


@pytest.mark.parametrize(("limit", "on", "beyond", "value"), QUALITY, ids=[case[0] for case in QUALITY])
def test_quality(limit: str, on: str, beyond: str, value: float) -> None:
    threshold = getattr(GopherQuality(), limit)
    rules = only(GopherQuality, **{limit: threshold})
    assert judged(rules, on) is None
    assert judged(rules, beyond) == Dropped(f"gopher_quality.{limit}", pytest.approx(value), threshold)


REPETITION = [
    ("min_characters", "a", "", 0),
    ("max_duplicate_paragraphs", "\n\n".join("abcdefgaaa"), "\n\n\n".join("abcdefaaa"), 3 / 9),
    ("max_duplicate_lines", "\n".join("abcdefgaaa"), "\n\n".join("abcdefaaa"), 3 / 9),
    ("max_duplicate_paragraph_characters", "aa\n\naa\n\nbb", "aa\n\naa\n\nb", 2 / 9),
    ("max_duplicate_line_characters", "aa\naa\nbbbb", "aa\naa\nbbb", 2 / 9),
    # 2 x "a b" in 30 and 29 characters
    ("max_top_2_gram", "a b , a b " + "c" * 20, "a b , a b " + "c" * 19, 6 / 29),
    ("max_top_3_gram", "a b c , a b c " + "d" * 42, "a b c , a b c " + "d" * 41, 10 / 55),
    ("max_top_4_gram", "a b c d , a b c d " + "e" * 70, "a b c d , a b c d " + "e" * 69, 14 / 87),
]


@pytest.mark.parametrize(("limit", "on", "beyond", "value"), REPETITION, ids=[case[0] for case in REPETITION])
def test_repetition(limit: str, on: str, beyond: str, value: float) -> None:
    threshold = getattr(GopherRepetition(), limit)
    rules = only(GopherRepetition, **{limit: threshold})
    assert judged(rules, on) is None
    assert judged(rules, beyond) == Dropped(f"gopher_repetition.{limit}", pytest.approx(value), threshold)


@pytest.mark.parametrize("n", range(5, 11))
def test_duplicate_ngrams(n: int) -> None:
    threshold = getattr(GopherRepetition(), f"max_duplicate_{n}_grams")
    rules = only(GopherRepetition, **{f"max_duplicate_{n}_grams": threshold})
    phrase = " ".join("abcdefghij"[:n])  # n characters are counted again in a text of `length`
    length = round(n / threshold)
    text = f"{phrase} , {phrase} "
    while n / length > threshold:
        length += 1
    on, beyond = (text + "x" * (total - len(text)) for total in (length, int(n / threshold - 1e-9)))
    assert judged(rules, on) is None
    assert judged(rules, beyond) == Dropped(
        f"gopher_repetition.max_duplicate_{n}_grams", pytest.approx(n / len(beyond)), threshold
    )


def test_stop_words_can_be_those_of_another_language() -> None:
    text = "der und die " * 20
    assert judged(from_config("gopher_quality", {}), text) == Dropped("gopher_quality.min_stop_words", 0, 2)
    assert judged(from_config("gopher_quality", {"stop_words": ["der", "und"]}), text) is None


def test_an_empty_document_is_measured() -> None:
    values = GopherQuality().measure(Document("f#0", "", "f")) | GopherRepetition().measure(Document("f#0", "", "f"))
    assert set(values.values()) == {0}
