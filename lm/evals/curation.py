"""Scores a curation of the generated crawl against what is true of its pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lm.common.errors import UserError
from lm.data.curate import ledger
from lm.data.curate.output import DOCUMENTS, DROPPED, files_of
from lm.data.curate.score import text_f1
from lm.data.synthetic.crawl import Page, Truth

DUPLICATE = 0.85  # the Jaccard similarity from which two texts are near-duplicates
_CLASSIFIED = {"toxicity": "toxic", "adult": "adult", "spam": "spam"}  # step: the kind of page it is to drop


class Fate(NamedTuple):
    """What became of a page: its text at the end, and the rule that dropped it with what the rule found."""

    text: str
    rule: str = ""
    value: str = ""


class Share(NamedTuple):
    """So many of so many."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share; not a number where there was nothing to measure."""
        return self.hits / self.of if self.of else math.nan


def score(output: Path, truth: Truth) -> dict[str, dict[str, Any]]:
    """Returns the figures by name: each a value in 0..1 and over how many pages, pairs or planted values it is.

    A step is held against the pages that came to it: what an earlier rule dropped is neither its merit nor its fault.

    Raises:
        UserError: a page of the crawl is in no ledger, so that something else was curated, or lost.
    """
    fates = _fates(output)
    lost = [page.id for page in truth if page.id not in fates and page.kind not in ("skipped", "empty")]
    if lost:
        raise UserError(
            f"{output}: {len(lost)} pages of the crawl are in no ledger, such as {lost[0]}; was it curated?"
        )
    pages = [page for page in truth if page.id in fates]
    clean = [page for page in pages if page.kind == "clean"]
    figures: dict[str, Share | float] = {
        "extraction F1": fmean([text_f1(fates[page.id].text, page.text).f1 for page in clean] or [0.0]),
        "clean pages kept": Share(sum(not fates[page.id].rule for page in clean), len(clean)),
        **_duplicates(pages, fates),
        **_classified(pages, fates),
        "PII recall": _removed(pages, fates),
        **_leaks(pages, fates),
    }
    counted = {"extraction F1": len(clean)}
    return {
        name: {"value": figure, "of": counted[name]}
        if isinstance(figure, float)
        else {"value": figure.value, "of": figure.of}
        for name, figure in figures.items()
    }


def _fates(output: Path) -> dict[str, Fate]:
    fates = {record["id"]: Fate(record["text"]) for record in _records(files_of(output, DOCUMENTS))}
    for record in _records(files_of(output, DROPPED)):
        if "text" in record:  # else a record that was no document
            fates[record["id"]] = Fate(record["text"], record["rule"], str(record["value"]))
    return fates


def _records(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    return (record for path in paths for record in ledger.read(path))


def _duplicates(pages: list[Page], fates: Mapping[str, Fate]) -> dict[str, Share]:
    """Recall over copies at least `DUPLICATE` alike that met their original; precision over all that were dropped."""
    cluster = {page.id: page.cluster for page in pages}
    met = [
        page
        for page in pages
        if page.kind in ("duplicate", "near_duplicate")
        and page.similarity >= DUPLICATE
        and _compared(fates[page.id])
        and page.cluster in fates
        and _compared(fates[page.cluster])
    ]
    found = [page for page in met if _is_duplicate(fates[page.id]) or _is_duplicate(fates[page.cluster])]
    dropped = [page for page in pages if _is_duplicate(fates[page.id])]
    right = [page for page in dropped if page.cluster and page.cluster == cluster.get(fates[page.id].value)]
    return {
        "near-duplicate recall": Share(len(found), len(met)),
        "near-duplicate precision": Share(len(right), len(dropped)),
    }


def _compared(fate: Fate) -> bool:
    """Says whether a page came as far as deduplication: it was kept, or dropped there or behind it."""
    return not fate.rule or fate.rule.split(".")[0] in ("dedup", "decontaminate", *_CLASSIFIED)


def _is_duplicate(fate: Fate) -> bool:
    return fate.rule.startswith("dedup.")


def _classified(pages: list[Page], fates: Mapping[str, Fate]) -> dict[str, Share]:
    """F1 of each classifier, 2·hits / (dropped + there), over the pages that came to it."""
    figures = {}
    steps = list(_CLASSIFIED)
    for at, (step, kind) in enumerate(_CLASSIFIED.items()):
        later = ("", *steps[at:], "decontaminate")
        asked = [page for page in pages if fates[page.id].rule.split(".")[0] in later]
        dropped = [page for page in asked if fates[page.id].rule.startswith(f"{step}.")]
        there = [page for page in asked if page.kind == kind]
        hits = sum(page.kind == kind for page in dropped)
        figures[f"{step} F1"] = Share(2 * hits, len(dropped) + len(there))
    return figures


def _removed(pages: list[Page], fates: Mapping[str, Fate]) -> Share:
    planted = [(page, value) for page in pages if not fates[page.id].rule for value in page.pii]
    return Share(sum(value.value not in fates[page.id].text for page, value in planted), len(planted))


def _leaks(pages: list[Page], fates: Mapping[str, Fate]) -> dict[str, Share]:
    figures = {}
    for name, is_verbatim in (("verbatim", True), ("edited", False)):
        there = [
            page
            for page in pages
            if page.leak
            and (page.leak.edit == "verbatim") == is_verbatim
            and fates[page.id].rule.split(".")[0] in ("", "decontaminate")
        ]
        found = sum(fates[page.id].rule.startswith("decontaminate.") for page in there)
        figures[f"leaks found, {name}"] = Share(found, len(there))
    return figures
