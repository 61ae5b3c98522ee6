"""Lists, tables, code and paragraphs as plain text."""

from __future__ import annotations

import pytest

from lm.data.curate.extract import main_text

pytest.importorskip("resiliparse")

BEFORE = "A paragraph stands before it so that there is something for the reader to hold on to."
AFTER = "Another one stands after it, for the same reason, and ends the page with a full stop."


def between(html: str) -> str:
    text = main_text(f"<html><body><p>{BEFORE}</p>{html}<p>{AFTER}</p></body></html>")[1]
    assert text.startswith(BEFORE + "\n\n")
    assert text.endswith("\n\n" + AFTER)
    return text[len(BEFORE) + 2 : -len(AFTER) - 2]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<ul><li>one<li>two<ol><li>three</li><li>four</ol><li>five</ul>",
            "- one\n- two\n  1. three\n  2. four\n- five",
        ),
        ("<ul><li><p>one</p><p>more of it</p></li><li>two</li></ul>", "- one\n  more of it\n- two"),
        ("<ol><li>a<br>b</ol>", "1. a\n  b"),
        ("<dl><dt>Bight<dd>A slack curve.<dt>Bend<dd>A knot.</dl>", "Bight\nA slack curve.\n\nBend\nA knot."),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "a | b\n1 | 2"),
        ("<table><tr><th>a<th>b<th>c<tr><td>1<td><td><p>3</p><p>4</p></table>", "a | b | c\n1 |  | 3 4"),
        ("<pre>def f():\n\tif x:\n        return  1\n</pre>", "def f():\n\tif x:\n        return  1"),
        ("<pre><code><div>a = 1</div><div>  b = 2</div></code></pre>", "a = 1\n  b = 2"),
        ("<pre><span class=lineno>1</span>x &lt; y &amp;&amp; z</pre>", "x < y && z"),
        ("<p>one   \n two<br>three<br><br><br>four", "one two\nthree\n\nfour"),
        ("<p>so<b>me</b>&nbsp;<i>wo</i>rds", "some words"),
        ("<blockquote>cited by <em>somebody</em></blockquote>", "cited by somebody"),
    ],
)
def test_what_html_says_in_plain_text(html: str, text: str) -> None:
    assert between(html) == text


def test_a_table_for_the_layout_is_no_table() -> None:
    cell = BEFORE * 4
    assert (
        between(f"<table><tr><td>{cell}</td><td>{AFTER}</td></tr><tr><td>x.</td></tr></table>")
        == f"{cell}\n\n{AFTER}\n\nx."
    )


def test_a_skipped_box_parts_the_text_around_it_and_a_skipped_word_does_not() -> None:
    assert between("<div>One stands here.<div class=share>no</div>Two here.</div>") == "One stands here.\n\nTwo here."
    assert between("<p>One<sup class=reference><a href=#1>[1]</a></sup>, two.</p>") == "One, two."
