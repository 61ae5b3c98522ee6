"""Markup that would keep a parser busy for minutes is not parsed; what real pages hold is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.data.curate.document import Document, Dropped
from lm.data.curate.extract import Extract
from lm.data.curate.extract.limits import too_much

PAGES = Path(__file__).parents[1] / "pages"
FONTS = "".join(f"<font size={n}>" for n in range(3_000))


@pytest.mark.parametrize(
    ("html", "rule"),
    [
        (FONTS + "<p>x" * 3_000, "extract.max_reopened"),
        ("<a href=x><b><div>" * 20_000, "extract.max_steps"),
        ("<p " + " ".join(f"a{n}=1" for n in range(6_000)) + ">", "extract.max_attributes"),
    ],
)
def test_too_much(html: str, rule: str) -> None:
    found = Extract()(Document("a#0", "", "a", {}, html.encode()))
    assert isinstance(found, Dropped)
    assert found.rule == rule


@pytest.mark.parametrize(
    "html",
    [
        "<p>x" * 100_000,
        "<a href=y>x</a> <b>y</b>" * 50_000,
        "<table>" + "<tr><td><font size=2>x" * 5_000,
        "<img src='data:" + "A" * 1_000_000 + "'>",
        "<p>a" + " " * 1_000_000 + "<b>",
        "<" * 200_000,
        "<p " + "\n" * 500_000,
    ],
)
def test_much_but_not_too_much(html: str) -> None:
    assert too_much(html) is None


def test_no_page_is_too_much() -> None:
    assert not any(too_much(path.read_text(encoding="latin-1")) for path in PAGES.glob("*.html"))
