"""Mathematics and books pass where Gopher's own limits drop them."""

import random

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules.gopher import GopherQuality
from lm.data.curate.rules.relaxed import Books, Math

from .texts import prose

# Written in the form of GSM8K: a question, steps with their calculations marked, and the answer.
PROBLEMS = (
    "A baker has 24 rolls and sells 3/8 of them. Each roll costs $2. How much money does the baker get?\n"
    "The baker sells 24*3/8=<<24*3/8=9>>9 rolls.\nThat makes 9*$2=$<<9*2=18>>18.\n#### 18",
    "Mia reads 12 pages a day for 5 days, then 20 pages a day for 3 days. How many pages is that?\n"
    "12*5=<<12*5=60>>60\n20*3=<<20*3=60>>60\n60+60=<<60+60=120>>120\n#### 120",
    "A train covers 150 km in 2.5 hours. How far does it go in 4 hours at this speed?\n"
    "Its speed is 150/2.5=<<150/2.5=60>>60 km/h.\nIn 4 hours: 60*4=<<60*4=240>>240 km.\n#### 240",
)
LATEX = (
    "Let $f(x) = x^2 - 4x + 3$. We look for its zeros. Since $f(x) = (x-1)(x-3)$, they are $x_1 = 1$ and $x_2 = 3$.\n"
    "\\begin{align} f'(x) &= 2x - 4 \\\\ f'(2) &= 0 \\end{align}\nThe vertex is at $(2, -1)$. \\qed"
)


@pytest.mark.parametrize("text", [*PROBLEMS, LATEX])
def test_mathematics(text: str) -> None:
    document = Document("f#0", text, "f")
    assert Math()(document) is document
    assert isinstance(GopherQuality()(document), Dropped)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x = 1", "math.min_words"),
        ("1 2 3 4 5 6 7 8 9 " * 20, "math.min_mean_word_length"),
        ("12 345 67 890 " * 20, "math.min_words_with_letter"),
        ("Solve it for x now and then for y.\n" * 10, "math.max_duplicate_lines"),
        ("is x of y in z at w on v or u to t " * 2, "math.min_characters"),
    ],
)
def test_what_is_no_mathematics(text: str, rule: str) -> None:
    assert Math()(Document("f#0", text, "f")).rule == rule


def test_books_may_be_of_any_length_and_full_of_speech() -> None:
    rng = random.Random(0)
    said = "".join(f'"{prose(rng, 12)}," she said, "{prose(rng, 6)}!"\n' for _ in range(6_000))
    book = Document("f#0", said, "f")
    assert Books()(book) is book
    assert GopherQuality()(book).rule == "gopher_quality.max_words"


def test_fragments_and_bad_scans_are_no_books() -> None:
    book = prose(random.Random(0), 2_000)
    letters = " ".join(book[:2_000].replace(" ", ""))
    assert Books()(Document("f#0", book, "f")).text == book
    assert Books()(Document("f#0", book[:1000], "f")).rule == "books.min_words"
    assert Books()(Document("f#0", book.replace("ea", "\ufffd"), "f")).rule == "books.max_unreadable"
    rules = Books(min_mean_word_length=None)
    assert rules(Document("f#0", f"{book} {letters}", "f")).rule == "books.max_single_letters"
