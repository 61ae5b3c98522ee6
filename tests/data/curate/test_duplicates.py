"""Deduplication as a part of a job: every key of its section changes what becomes of documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.data.curate.document import Document
from lm.data.curate.duplicates import Dedup, Phase, Verdicts, defaults
from lm.data.curate.ledger import Ledger, Receipts

ARTICLE = "The mill stood by the river for two hundred years before anyone thought of asking who had built it there."
OTHER = "A violin is made of some seventy pieces of wood, most of them spruce and maple that has dried for a decade."


def dedup(**changes: Any) -> Dedup:
    return Dedup.from_config(ConfigDict({**defaults(), **changes}))


def documents(*texts: str, meta: Mapping[int, Mapping[str, Any]] | None = None) -> list[Document]:
    return [Document(f"a#{n}", text, "", (meta or {}).get(n, {})) for n, text in enumerate(texts)]


def fates(made: Dedup, found: list[Document]) -> list[tuple[str, str] | None]:
    """What becomes of documents that are all there is: the rule and the survivor, or None."""
    keys = made.keys()
    for document in found:
        keys.add(document)
    verdicts = made.among(keys)
    dropped = [verdicts.of(index) for index in range(len(found))]
    return [gone and (gone.rule, str(gone.value)) for gone in dropped]


def test_exact_copies_go_by_that_name_and_near_ones_by_theirs() -> None:
    long = " ".join(f"In year {n} the mill ground {7 * n} sacks of rye and {3 * n} of oats." for n in range(40))
    found = fates(dedup(), documents(long, OTHER, long.upper(), long.replace("year 39", "winter 39")))
    assert found == [None, None, ("dedup.exact", "a#0"), ("dedup.minhash", "a#0")]


def test_exact_copies_stay_where_nothing_looks_for_them() -> None:
    copies = documents(ARTICLE, ARTICLE, ARTICLE)
    assert fates(dedup(preset="", rows=0), copies) == [None, ("dedup.exact", "a#0"), ("dedup.exact", "a#0")]
    assert fates(dedup(exact=False, preset="", rows=0, max_line_documents=9), copies) == [None] * 3


def test_the_longest_stays_or_the_best_or_the_least_surprising_and_among_equals_the_first() -> None:
    scores = {0: {"scores": {"quality": 0.2, "perplexity": 1.0}}, 1: {"scores": {"quality": 0.9, "perplexity": 3.0}}}
    copies = documents(ARTICLE, ARTICLE, meta=scores)
    assert fates(dedup(), copies) == [None, ("dedup.exact", "a#0")]
    assert fates(dedup(prefer="quality"), copies) == [("dedup.exact", "a#1"), None]
    assert fates(dedup(prefer="perplexity"), copies) == [None, ("dedup.exact", "a#0")]


def test_within_a_snapshot_copies_of_another_stay() -> None:
    meta = {n: {"snapshot": snapshot} for n, snapshot in enumerate(("2026-04", "2026-08", "2026-08"))}
    copies = documents(ARTICLE, ARTICLE, ARTICLE, meta=meta)
    assert fates(dedup(scope="snapshot"), copies) == [None, None, ("dedup.exact", "a#1")]
    assert fates(dedup(), copies) == [None, ("dedup.exact", "a#0"), ("dedup.exact", "a#0")]
    with pytest.raises(UserError, match=r"a#0: of no known snapshot"):
        fates(dedup(scope="snapshot"), documents(ARTICLE))


@pytest.mark.parametrize("backend", ["memory", "datatrove"])
def test_a_line_is_common_by_the_survivors_it_stands_in_and_not_by_their_copies(tmp_path: Path, backend: str) -> None:
    """Twelve copies of one article are one survivor; a footer in four other documents is too many of three."""
    footer = "All rights reserved by the publisher"
    texts = [f"{' '.join(f'{name}{n}' for n in range(20))}\n{footer}" for name in ("one", "two", "six", "ten")]
    units = [documents(*[ARTICLE] * 12), documents(*texts)]
    made = dedup(max_line_documents=3, backend=backend)
    _prepare(made, tmp_path, units)
    for phase in made.phases(tmp_path, len(units)):
        _run(phase)
    kept = [
        document
        for rank, unit in enumerate(units)
        for index, document in enumerate(unit)
        if Verdicts.load(made, tmp_path, rank).of(index) is None
    ]
    (step,) = made.common(tmp_path)
    left = [step(document) for document in kept]
    assert [document.text for document in left if isinstance(document, Document)] == [
        ARTICLE,
        *(text.removesuffix(f"\n{footer}") for text in texts),
    ]


def _prepare(made: Dedup, output: Path, units: list[list[Document]]) -> None:
    """Leaves what the first pass leaves."""
    for rank, unit in enumerate(units):
        ledger, keys = Ledger(output / "work" / "prepared", f"{rank:05d}"), made.keys()
        for document in unit:
            ledger.write({"id": document.id, "text": document.text, "meta": {}})
            keys.add(document)
        files: dict[str, Path | None] = {"prepared": ledger.close()}
        files |= keys.write(output / "work" / "prepared", f"{rank:05d}")
        Receipts(output, "prepare").write(rank, files, {})


def _run(phase: Phase) -> None:
    for rank in range(phase.tasks):
        phase.run(None, rank, phase.tasks)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scope": "page"}, "config.dedup.scope=page"),
        ({"backend": "disk"}, "config.dedup.backend=disk"),
        ({"max_paragraph_documents": -1}, "config.dedup.max_paragraph_documents=-1"),
        ({"prefer": "toxicity"}, "config.dedup.prefer=toxicity"),
        ({"exact": False, "preset": "", "rows": 0}, "looks for nothing"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        dedup(**changes)
