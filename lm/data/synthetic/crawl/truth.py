"""What is true of a generated crawl, page by page: the measure that curation is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lm.data.synthetic.crawl.personal import Planted


class Leak(NamedTuple):
    """The item on a line (from 0) of the benchmark, at `text[start:end]`; `edit` is how, or `verbatim`."""

    item: int
    edit: str
    start: int
    end: int


@dataclass(frozen=True)
class Page:
    """The truth about one response record.

    `id` is `FILE#N`, the N-th record of its file, and `record` its WARC-Record-ID. `kind` is one of `plan.KINDS`;
    `detail` says which sort. `text` is the main text, blocks with an empty line between them. `cluster` is the `id` of
    the page that a (near-)duplicate was made from, and of that page itself; `similarity` is that to it: the Jaccard
    similarity of the runs of five words. `refrain` is the site's line in the text, if it is there. `charset` is what
    the page declares ("" for nothing), or `mojibake` where UTF-8 was once read as windows-1252 and saved again.
    """

    id: str
    record: str
    url: str
    kind: str
    detail: str
    text: str
    title: str
    language: str
    style: str
    charset: str
    cluster: str = ""
    similarity: float = 1.0
    refrain: str = ""
    pii: tuple[Planted, ...] = ()
    leak: Leak | None = None


@dataclass(frozen=True)
class Truth:
    """Every page of a crawl in the order of its making."""

    crawl: Path
    benchmark: Path
    pages: tuple[Page, ...] = field(repr=False)

    def __iter__(self) -> Iterator[Page]:
        return iter(self.pages)

    def __len__(self) -> int:
        return len(self.pages)

    @cached_property
    def by_record(self) -> dict[str, Page]:
        """Pages by WARC-Record-ID."""
        return {page.record: page for page in self.pages}

    @cached_property
    def by_id(self) -> dict[str, Page]:
        """Pages by `FILE#N`."""
        return {page.id: page for page in self.pages}

    def of(self, *kinds: str) -> list[Page]:
        """Returns the pages of some kinds."""
        return [page for page in self.pages if page.kind in kinds]


def save(path: Path, pages: Iterator[Page]) -> None:
    """Writes the truth as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for page in pages:
            print(json.dumps(vars(page), ensure_ascii=False), file=file)


def load(directory: str | Path) -> Truth:
    """Reads the truth that `write_crawl` left in a directory.

    Raises:
        FileNotFoundError: no crawl was written there.
    """
    root = Path(directory)
    with (root / "truth.jsonl").open(encoding="utf-8") as file:
        pages = tuple(_page(line) for line in file)
    return Truth(root / "crawl", root / "benchmark.jsonl", pages)


def _page(line: str) -> Page:
    row = json.loads(line)
    row["pii"] = tuple(Planted(*found) for found in row["pii"])
    row["leak"] = Leak(*row["leak"]) if row["leak"] else None
    return Page(**row)
