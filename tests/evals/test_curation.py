"""The score of a curation: against ledgers and a truth made by hand, every figure worked out on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate.ledger import Ledger
from lm.data.curate.output import DOCUMENTS, DROPPED, STAGE
from lm.data.synthetic.crawl import Leak, Page, Truth
from lm.data.synthetic.crawl.personal import Planted
from lm.evals.curation import score


def page(id: str, kind: str, text: str = "one two three four", **more: Any) -> Page:
    fixed = {"record": id, "url": "", "detail": "", "title": "", "language": "en", "style": "", "charset": "utf-8"}
    return Page(**{"id": id, "kind": kind, "text": text, **fixed, **more})


def curated(output: Path, kept: dict[str, str], dropped: dict[str, tuple[str, str]]) -> Path:
    documents, gone = Ledger(output / DOCUMENTS, "00000"), Ledger(output / DROPPED, "00000a")
    for id, text in kept.items():
        documents.write({"id": id, "text": text, "meta": {}})
    for id, (rule, value) in dropped.items():
        gone.write({"id": id, "rule": rule, "value": value, "threshold": "", "text": "one two three four", "meta": {}})
    files = [path for path in (documents.close(), gone.close()) if path]
    manifest.write(output, stage=STAGE, config={}, inputs={}, counts={}, files=files)
    return output


def figures(tmp_path: Path, pages: list[Page], kept: dict[str, str], dropped: dict[str, tuple[str, str]]) -> Any:
    found = score(curated(tmp_path, kept, dropped), Truth(tmp_path, tmp_path, tuple(pages)))
    return {name: (round(row["value"], 4), row["of"]) for name, row in found.items() if row["of"]}


def test_extraction_and_what_is_kept_are_of_clean_pages(tmp_path: Path) -> None:
    pages = [page("a", "clean"), page("b", "clean")]
    kept = {"a": "one two three four"}
    found = figures(tmp_path, pages, kept, {"b": ("gopher_quality.min_words", "3")})
    assert found["clean pages kept"] == (0.5, 2)
    assert found["extraction F1"] == (1.0, 2)


def test_duplicates_count_where_both_were_compared(tmp_path: Path) -> None:
    """Of four copies one is found, one is missed, one is too unlike, and one never met its original."""
    pages = [
        page("a", "clean", cluster="a"),
        page("b", "near_duplicate", cluster="a", similarity=0.9),
        page("c", "near_duplicate", cluster="a", similarity=0.9),
        page("d", "near_duplicate", cluster="a", similarity=0.6),
        page("e", "duplicate", cluster="a"),
        page("f", "clean"),
    ]
    kept = {"a": "x", "c": "x", "d": "x"}
    dropped = {"b": ("dedup.minhash", "a"), "e": ("language.keep", "de"), "f": ("dedup.minhash", "a")}
    found = figures(tmp_path, pages, kept, dropped)
    assert found["near-duplicate recall"] == (0.5, 2)
    assert found["near-duplicate precision"] == (0.5, 2)  # b is of a's cluster, f is not


def test_classifiers_are_held_against_what_came_to_them(tmp_path: Path) -> None:
    """One toxic page found, one missed, one clean page dropped: F1 is 2 / (2 + 2); what came before is no matter."""
    pages = [page("a", "toxic"), page("b", "toxic"), page("c", "clean"), page("d", "toxic")]
    dropped = {"a": ("toxicity.max", "0.9"), "c": ("toxicity.max", "0.6"), "d": ("gopher_quality.min_words", "3")}
    found = figures(tmp_path, pages, {"b": "x"}, dropped)
    assert found["toxicity F1"] == (0.5, 4)


def test_planted_values_and_leaks(tmp_path: Path) -> None:
    pages = [
        page("a", "clean", pii=(Planted("email", "a@b.example"), Planted("phone", "555"))),
        page("b", "leak", leak=Leak(0, "verbatim", 0, 4)),
        page("c", "leak", leak=Leak(1, "word", 0, 4)),
    ]
    kept = {"a": "write to <EMAIL> or call 555", "c": "one two three four"}
    found = figures(tmp_path, pages, kept, {"b": ("decontaminate.coverage", "x#0 1.00")})
    assert found["PII recall"] == (0.5, 2)
    assert (found["leaks found, verbatim"], found["leaks found, edited"]) == ((1.0, 1), (0.0, 1))


def test_a_page_in_no_ledger_is_no_score(tmp_path: Path) -> None:
    curated(tmp_path, {"a": "x"}, {})
    with pytest.raises(UserError, match="1 pages of the crawl are in no ledger, such as b"):
        score(tmp_path, Truth(tmp_path, tmp_path, (page("a", "clean"), page("b", "clean"))))
