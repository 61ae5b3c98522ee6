"""Facts of the chapter on curation, of a small crawl: sums that agree, examples that are what they are called."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.data.curate import recipe
from lm.data.curate.classify import KINDS
from lm.data.synthetic import crawl
from lm.evals import curation as scores
from lm.stages import curate, quickstart

PAGES = 150


@pytest.fixture(scope="module")
def curation(handbook: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A curated crawl as a quickstart leaves it, but for classifiers, which would have to be trained."""
    run = tmp_path_factory.mktemp("run")
    truth = crawl.write_crawl(run / quickstart.CRAWL, seed=0, n_pages=PAGES)
    cfg = recipe.defaults()
    cfg.steps = tuple(name for name in recipe.chain("web") if name not in (*KINDS, "c4"))
    cfg.language.keep = ("en",)
    cfg.gopher_quality.min_words_with_letter = 0.7
    cfg.decontaminate.paths = (str(truth.benchmark),)
    cfg.input, cfg.output, cfg.workers = str(truth.crawl), str(run / quickstart.CURATED), 1
    curate.run(cfg, None)
    (run / quickstart.SCORE).write_text(json.dumps(scores.score(run / quickstart.CURATED, truth)))
    return handbook.curation_view.Curation(run)


def fact(handbook: SimpleNamespace, curation: Any, name: str) -> Any:
    return handbook.curation_facts.FACTS[name](SimpleNamespace(curation=curation))


def test_funnel_loses_no_record(handbook: SimpleNamespace, curation: Any) -> None:
    rows = fact(handbook, curation, "curation.funnel")
    came = [int(row[1].replace(",", "")) for row in rows]
    dropped = [int(row[2].replace(",", "")) if row[2] not in ("–", "") else 0 for row in rows]
    assert came[0] == curation.made.counts["records"]["input"]
    assert came[-1] == len(curation.kept)
    assert [before - gone for before, gone in zip(came[:-1], dropped[:-1], strict=True)] == came[1:]


def test_dropped_table_has_one_row_a_step_that_drops(handbook: SimpleNamespace, curation: Any) -> None:
    rules = {record["rule"].split(".")[0] for record in curation.dropped.values()}
    rows = fact(handbook, curation, "curation.dropped")
    assert sorted(row[1].split(".")[0] for row in rows) == sorted(rules)


def test_every_score_is_told_in_words(handbook: SimpleNamespace, curation: Any) -> None:
    assert list(curation.score) == list(handbook.curation_facts.MEASURES)
    assert len(fact(handbook, curation, "curation.score")) == len(curation.score)


def test_example_page_had_personal_data_and_has_placeholders(handbook: SimpleNamespace, curation: Any) -> None:
    page, record = curation.example
    planted = curation.truth.by_id[page.id].pii
    markup, text = (fact(handbook, curation, f"curation.{name}") for name in ("markup", "text"))
    assert planted
    assert all(value.value in page.html.decode(record["meta"]["encoding"]) for value in planted)
    assert not any(value.value in record["text"] for value in planted)
    assert "<" + next(iter(record["meta"]["pii"])).upper() + ">" in record["text"]
    assert markup.startswith("<body")
    assert max(map(len, f"{markup}\n{text}".splitlines())) <= handbook.curation_facts.COLUMNS


def test_copies_met_their_originals_and_the_alike_were_found(handbook: SimpleNamespace, curation: Any) -> None:
    assert curation.copies
    ids = {*curation.kept, *curation.dropped}
    for copy in curation.copies:
        assert {copy.page.id, copy.original.id} <= ids
        assert copy.is_found or copy.page.similarity < 0.9
    edits = fact(handbook, curation, "curation.edits")
    assert "[-" in edits or "{+" in edits


def test_leak_shows_item_and_passage_and_how_much_was_covered(handbook: SimpleNamespace, curation: Any) -> None:
    item, page, covered = fact(handbook, curation, "curation.leak").splitlines()
    assert item.startswith("item: ")
    assert page.startswith("page (")
    assert 0.6 <= float(covered.removeprefix("covered: ")) <= 1


def test_dry_run_shows_rules_and_writes_nothing(handbook: SimpleNamespace, curation: Any) -> None:
    before = sorted(curation.directory.rglob("*"))
    shown = fact(handbook, curation, "curation.dry_run")
    assert "records sampled" in shown.splitlines()[0]
    assert "read.no_document" in shown
    assert sorted(curation.directory.rglob("*")) == before


def test_capped_sources_are_not_repeated_more_often(handbook: SimpleNamespace) -> None:
    *_, capped = handbook.curation_facts.FACTS["mixture.shares"](None)
    epochs = [float(cell[cell.index("(") + 1 : -1]) for cell in capped[1:]]
    assert max(epochs) == 4
    assert sum(float(cell.split(" %")[0]) for cell in capped[1:]) == pytest.approx(100, abs=0.2)


def test_run_without_curated_text_fails_in_one_line_that_says_what_makes_one(
    handbook: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"has no curated text; .*`lm quickstart`[^\n]*$"):
        handbook.curation_view.Curation(tmp_path)
