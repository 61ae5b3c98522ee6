"""Extraction against hand-made pages: `NAME.txt` is what a careful reader takes from `NAME.html`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from statistics import mean

import pytest

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped
from lm.data.curate.extract import Extract, main_text
from lm.data.curate.extract.charset import decode
from lm.data.curate.score import text_f1

pytest.importorskip("resiliparse")

PAGES = Path(__file__).parents[1] / "pages"
NAMES = sorted(path.stem for path in PAGES.glob("*.html"))
# What the server said of the pages that do not say it themselves, or say something else.
CHARSETS = {"forum_russian_1251_header": "windows-1251", "script_ukrainian_lie": "utf-8"}


def page(name: str) -> Document:
    meta = {"charset": CHARSETS[name]} if name in CHARSETS else {}
    return Document(f"{name}.html#0", "", "pages", meta, (PAGES / f"{name}.html").read_bytes())


def label(name: str) -> str:
    return (PAGES / f"{name}.txt").read_text(encoding="utf-8")


def extracted(document: Document, step: Extract | None = None) -> Document:
    result = (step or Extract())(document)
    assert isinstance(result, Document), result
    return result


def of_html(html: str | bytes, **meta: str) -> str:
    return extracted(Document("a#0", "", "a", meta, html.encode() if isinstance(html, str) else html)).text


@cache
def scores() -> dict[str, float]:
    return {name: text_f1(extracted(page(name)).text, label(name)).f1 for name in NAMES}


def test_there_are_pages_of_every_style() -> None:
    assert len(NAMES) >= 40
    assert {name.split("_")[0] for name in NAMES} >= {
        "news",
        "forum",
        "shop",
        "docs",
        "table",
        "list",
        "script",
        "broken",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_page_gives_its_main_text(name: str) -> None:
    assert scores()[name] >= 0.85


def test_the_pages_together() -> None:
    assert mean(scores().values()) >= 0.97


def test_no_page_is_below_what_resiliparse_finds_by_default() -> None:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    for name in NAMES:
        tree = HTMLTree.parse(decode(page(name).html, CHARSETS.get(name))[0])
        for main_content in (False, True):
            theirs = text_f1(extract_plain_text(tree, main_content=main_content), label(name)).f1
            assert scores()[name] >= theirs - 1e-9, name


def test_the_pages_are_not_below_what_trafilatura_finds_by_default() -> None:
    trafilatura = pytest.importorskip("trafilatura")
    theirs = {}
    for name in NAMES:
        html = decode(page(name).html, CHARSETS.get(name))[0]
        theirs[name] = text_f1(trafilatura.extract(html) or "", label(name)).f1
        assert scores()[name] >= theirs[name] - 1e-9, name
    assert mean(scores().values()) > mean(theirs.values())


def test_title_and_encoding_go_to_meta() -> None:
    document = extracted(page("news_greek_1253"))
    assert document.meta == {"title": "Το παλιό ελαιοτριβείο γίνεται μουσείο", "encoding": "cp1253"}
    assert document.html == b""


def test_a_document_without_a_page_passes_as_it_is() -> None:
    document = Document("a#0", "  <p>text</p>\n", "a")
    assert Extract()(document) is document


@pytest.mark.parametrize("html", ["<nav><a href='/'>Home</a></nav>", "<p> \n </p>", "\0", "<!-- nothing -->"])
@pytest.mark.parametrize("library", ["resiliparse", "trafilatura"])
def test_a_page_without_text_is_dropped(html: str, library: str) -> None:
    pytest.importorskip(library)
    step = Extract(library)  # type: ignore[arg-type]
    assert step(Document("a#0", "", "a", {}, html.encode())) == Dropped("extract.empty", 0, 1)


def test_an_unknown_library_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="choose one of resiliparse, trafilatura"):
        Extract("jusext")  # type: ignore[arg-type]


@pytest.mark.parametrize("library", ["resiliparse", "trafilatura"])
def test_nothing_depends_on_what_was_read_before(library: str) -> None:
    pytest.importorskip(library)
    step = pickle.loads(pickle.dumps(Extract(library)))  # type: ignore[arg-type]
    names = NAMES[:12]
    forwards = [step(page(name)) for name in names]
    again = [step(page(name)) for name in reversed(names)] + [step(page(name)) for name in names]
    assert forwards == again[len(names) :] == again[: len(names)][::-1]


def test_trafilatura_is_the_other_choice() -> None:
    pytest.importorskip("trafilatura")
    step = Extract("trafilatura")
    found = {name: step(page(name)) for name in ("news_storm", "docs_sphinx_api", "script_thai")}
    assert all(isinstance(d, Document) and text_f1(d.text, label(name)).f1 > 0.9 for name, d in found.items())


SENTENCE = "This sentence is long enough to be a paragraph that somebody would want to read, and it ends here."


def test_boilerplate_goes_by_name_role_and_tag() -> None:
    kept = f"<div class='body'><p>{SENTENCE}</p><p>{SENTENCE}</p></div>"
    for gone in (
        f"<nav><p>{SENTENCE} gone</p></nav>",
        f"<div id='cookieConsent'>{SENTENCE} gone</div>",
        f"<div class='post-share-bar'>{SENTENCE} gone</div>",
        f"<div class='related_posts'>{SENTENCE} gone</div>",
        f"<div role='navigation'>{SENTENCE} gone</div>",
        f"<div style='display: none'>{SENTENCE} gone</div>",
        f"<div hidden>{SENTENCE} gone</div>",
        f"<footer>{SENTENCE} gone</footer>",
        f"<section class='comments-area'><p>{SENTENCE} gone</p></section>",
        f"<script>var a = '<p>{SENTENCE} gone</p>'</script>",
        "<div><a href='/1'>Something else gone</a> <a href='/2'>More gone</a></div>",
    ):
        assert "gone" not in of_html(f"<body>{gone}{kept}{gone}</body>"), gone


@pytest.mark.parametrize(
    "names", ["has-sidebar", "user-guide", "category-cookies tag-social", "commentary", "footnotes"]
)
def test_names_that_only_look_like_boilerplate(names: str) -> None:
    other = f"<p>{SENTENCE} First.</p><p>{SENTENCE}</p>"
    assert "kept" in of_html(f"<body>{other}<div class='{names}'>{SENTENCE} kept.</div></body>")


def test_a_page_of_comments_is_about_its_comments() -> None:
    comments = "".join(f"<div class='comment'><p>{SENTENCE} Number {n}.</p></div>" for n in range(3))
    assert of_html(f"<body><div class='comments'>{comments}</div></body>").count(SENTENCE) == 3


def test_a_link_left_open_does_not_swallow_the_page() -> None:
    paragraphs = "".join(f"<p>{SENTENCE} Number {n}.</p>" for n in range(5))
    assert of_html(f"<body><div class='menu'><a href=/>Home<a href=/x>More</div>{paragraphs}").count(SENTENCE) == 5


def run_alone(code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, which may die of it."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("library", ["resiliparse", "trafilatura"])
def test_markup_nested_ten_thousand_deep_neither_hangs_nor_kills_the_process(library: str) -> None:
    pytest.importorskip(library)
    done = run_alone(f"""
from lm.data.curate.document import Document
from lm.data.curate.extract import Extract
for opening in ("<div>", "<b>", "<blockquote>", "<ul><li>", "<table><tr><td>", "<pre>", "<span>", "<a href=x><div>"):
    page = (opening * 10_000 + {SENTENCE!r}).encode()
    print(type(Extract({library!r})(Document("a#0", "", "a", {{}}, page))).__name__)
""")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 8
    assert library == "trafilatura" or done.stdout.count("Document") >= 7


def test_depth_does_not_hide_text() -> None:
    assert SENTENCE in main_text("<div>" * 10_000 + SENTENCE)[1]
    assert len(of_html("<ul><li>x" * 2_000)) < 100_000  # not indented ever further
