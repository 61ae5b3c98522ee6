"""Pages of HTML to the text that a reader came for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, get_args

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped
from lm.data.curate.extract.blocks import Page, read_page, size_of, without_open_links
from lm.data.curate.extract.charset import decode
from lm.data.curate.extract.layout import data_tables, nests_of, write
from lm.data.curate.extract.limits import too_much
from lm.data.curate.extract.main_text import choose

Library = Literal["resiliparse", "trafilatura"]

_ENOUGH = 150  # characters of main text; with less, what its names made doubtful is read too


@dataclass(frozen=True)
class Extract:
    """Turns `html` into the text of the page's main content; documents without `html` pass as they are.

    `meta` tells the encoding the page was read in, and its title if it has one. The charset of the HTTP header is
    taken from `meta["charset"]`.

    Raises:
        UserError: if there is no such library, or it is not installed.
    """

    library: Library = "resiliparse"  # the other is slower, and one more opinion
    name: ClassVar[str] = "extract"

    def __post_init__(self) -> None:
        if self.library not in get_args(Library):
            raise UserError(f"extract.library={self.library!r}: choose one of {', '.join(get_args(Library))}")
        for needed in {"resiliparse", self.library}:
            if find_spec(needed) is None:
                raise UserError(f"extract.library={self.library!r} needs {needed}; pip install 'lm[curate]'")

    def __call__(self, document: Document) -> Document | Dropped:
        if not document.html:
            return document
        html, encoding = decode(document.html, document.meta.get("charset"))
        if too := too_much(html):
            return too
        title, text = main_text(html) if self.library == "resiliparse" else _by_trafilatura(html)
        if not text:
            return Dropped("extract.empty", 0, 1)
        found: dict[str, Any] = {"encoding": encoding, "title": title} if title else {"encoding": encoding}
        return document.changed(text, **found)


def main_text(html: str) -> tuple[str, str]:
    """Returns a page's title and the text of its main content; the parser is Resiliparse's.

    What looks like boilerplate by its names (comments, sidebars, related articles) is left out, unless that leaves
    next to nothing: a page of comments is about comments. Nor are links told from text where one was never closed.
    """
    from resiliparse.parse.html import HTMLTree

    root = HTMLTree.parse(html).document
    normal = root.html if root else ""
    page = read_page(normal)
    text = _chosen_text(page)
    if size_of(text) < _ENOUGH:
        closed = without_open_links(normal)
        for other in (read_page(closed), read_page(closed, doubtful=True)):
            wider = _chosen_text(other)
            if size_of(wider) > 2 * size_of(text):
                text = wider
    return page.title, text


def _chosen_text(page: Page) -> str:
    nests = nests_of(page)
    tables = data_tables(page, nests)
    return write(page, nests, tables, choose(page, [around.table in tables for around in nests]))


def _by_trafilatura(html: str) -> tuple[str, str]:
    """The same by trafilatura (Barbaresi, 2021): slower, and one more opinion.

    Its `deduplicate` stays off: it drops what the same process has seen in earlier pages, so that the text of a page
    would depend on how pages are spread over workers.
    """
    import trafilatura
    from resiliparse.parse.html import HTMLTree

    text = trafilatura.extract(html, include_comments=False, deduplicate=False)
    return " ".join((HTMLTree.parse(html).title or "").split()), text or ""
