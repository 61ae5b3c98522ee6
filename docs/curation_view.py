"""The curation of a quickstart, opened once for the facts and the figures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate import ledger, recipe
from lm.data.curate.classify import KINDS
from lm.data.curate.document import Document
from lm.data.curate.output import DOCUMENTS, DROPPED, FACTS, STAGE, files_of
from lm.data.curate.preview import Preview, preview
from lm.data.curate.read import File, Options, list_files, read
from lm.data.synthetic import crawl
from lm.data.synthetic.crawl import Page, Truth
from lm.stages import quickstart

Record = Mapping[str, Any]
COPIES = ("duplicate", "near_duplicate")


class Copy(NamedTuple):
    """A planted copy that met its original in deduplication, and whether one of the two was dropped for it."""

    page: Page
    original: Page
    is_found: bool


class Curation:
    """The crawl that a quickstart wrote, what is true of it, and what became of its records."""

    def __init__(self, run: Path) -> None:
        self.directory = run / quickstart.CURATED
        if manifest.find(self.directory, STAGE) is None:
            raise UserError(f"{run}: has no curated text; the book needs a run that `lm quickstart` made")
        self.made = manifest.read(self.directory, STAGE)
        self.truth: Truth = crawl.load(run / quickstart.CRAWL)
        self.facts: dict[str, Any] = _json(self.directory / FACTS)
        self.score: dict[str, dict[str, Any]] = _json(run / quickstart.SCORE)

    @cached_property
    def kept(self) -> dict[str, Record]:
        """The kept documents by id, in order."""
        return {record["id"]: record for path in files_of(self.directory, DOCUMENTS) for record in ledger.read(path)}

    @cached_property
    def dropped(self) -> dict[str, Record]:
        """The dropped records by id, in order."""
        return {record["id"]: record for path in files_of(self.directory, DROPPED) for record in ledger.read(path)}

    @property
    def models(self) -> list[Path]:
        """The directories of the classifiers that were trained for it, in the order of its steps."""
        steps = (*self.facts["steps"], *self.facts["steps_after"])
        folders = (self.directory / "models" / name for name in steps)
        return [folder for folder in folders if folder.is_dir()]

    @property
    def files(self) -> tuple[File, ...]:
        """The files of the crawl."""
        return list_files(str(self.truth.crawl))

    def pages(self) -> Iterator[Document]:
        """Yields every page as it was read."""
        for file in self.files:
            yield from (record for record in read(file, Options(), "") if isinstance(record, Document))

    @cached_property
    def example(self) -> tuple[Document, Record]:
        """The kept page with personal data whose markup and text have the fewest lines, and what it became."""
        pairs = ((page, self.kept[page.id]) for page in self.pages() if page.id in self.kept)
        return min(
            (pair for pair in pairs if "pii" in pair[1]["meta"]),
            key=lambda pair: pair[0].html.count(b"\n") + 2 * pair[1]["text"].count("\n"),
        )

    @cached_property
    def copies(self) -> list[Copy]:
        """The planted copies that met their originals: both came as far as deduplication."""
        compared = ("dedup", *self.facts["steps_after"])
        rules = {id: record["rule"].split(".")[0] for id, record in self.dropped.items()}
        found = []
        for page in self.truth.of(*COPIES):
            pair = (page.id, page.cluster)
            if all(rules.get(id, "dedup") in compared for id in pair):
                is_found = any(rules.get(id) == "dedup" for id in pair)
                found.append(Copy(page, self.truth.by_id[page.cluster], is_found))
        return found

    def dry_run(self, n: int) -> Preview:
        """Takes a sample of about n records through all steps but the classifiers, as `lm curate` does in a dry run."""
        cfg = recipe.defaults()
        known = {key: tuple(value) if isinstance(value, list) else value for key, value in self.made.config.items()}
        cfg.update_from_flattened_dict(known)
        cfg.steps = tuple(name for name in cfg.steps if name not in KINDS)  # nobody wants to read what they drop
        cfg.dedup.prefer = ""
        cfg.decontaminate.paths = (str(self.truth.benchmark),)
        with tempfile.TemporaryDirectory() as scratch:
            return preview(self.files, recipe.make_job(cfg, Path(scratch)), n=n, n_examples=1)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
