"""C4 keeps sentences, line by line, and drops pages by what it keeps."""

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules.c4 import C4

FIVE = "One is here. Two is here! Three is here? Four is here. Five is here."


def cleaned(text: str, **keys: object) -> Document | Dropped:
    return C4(**keys)(Document("f#0", text, "f"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A menu of things", "no terminal punctuation"),
        ("And so it went on...", "no terminal punctuation"),
        ("", "no terminal punctuation"),
        ("Too short.", "few words"),
        ("Please switch JavaScript on.", "javascript"),
        ("Read our Privacy Policy here.", "policy"),
        ("This site uses cookies, as others do.", "policy"),
        (f"The word {'x' * 1001} is long.", "long word"),
    ],
)
def test_a_line_that_goes(line: str, reason: str) -> None:
    document = cleaned(f"{FIVE}\n{line}\n{FIVE}")
    assert document.text == f"{FIVE}\n{FIVE}"
    assert document.meta["c4_removed"] == {reason: 1}


@pytest.mark.parametrize(
    "line",
    ["These are three.", 'He said "no."', "She said 'no!'", "Is it so?", f"The word {'x' * 997} is fine."],
)
def test_a_line_that_stays(line: str) -> None:
    text = f"{FIVE}\n{line}"
    document = Document("f#0", text, "f")
    assert C4()(document) is document


def test_citations_go_and_lines_lose_the_space_around_them() -> None:
    document = cleaned(f"{FIVE}\n  It is known[12][] to all[citation needed].  \nHistory of it[edit] here.")
    assert document.text == f"{FIVE}\nIt is known to all.\nHistory of it here."
    assert document.meta["c4_removed"] == {}


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("One is here. Two is here! Three is here? Four is here.", Dropped("c4.min_sentences", 4, 5)),
        ("Too short.\n" * 9, Dropped("c4.min_sentences", 0, 5)),
        ("", Dropped("c4.min_sentences", 0, 5)),
        (f"{FIVE}\nNow lorem Ipsum dolor.", Dropped("c4.max_lorem_ipsum", 1, 0)),
        (f"{FIVE}\nWrite a = {{}}; and go.", Dropped("c4.max_curly_brackets", 1, 0)),
    ],
)
def test_a_page_that_goes(text: str, dropped: Dropped) -> None:
    assert cleaned(text) == dropped


def test_what_stands_in_a_line_that_goes_drops_no_page() -> None:
    assert cleaned(f"{FIVE}\nfunction f() {{ return 1 }}").text == FIVE
    assert cleaned(f"{FIVE}\nLorem ipsum").text == FIVE


def test_terminal_punctuation_need_not_be_asked_for() -> None:
    text = f"{FIVE}\nA menu of things\nShort line"
    assert cleaned(text, terminal_punctuation=False).text == f"{FIVE}\nA menu of things"
