"""Which held-out figures a run is known by, over how much text, and on which source."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from lm.study import figures, record, report, validation
from lm.train import run as runs

BY_SOURCE = {"text": (2.0, 3.0), "web": (1.0, 1.5)}
WEIGHTS = {"text": 3.0, "web": 1.0}
TOKENS = {"train": {"text": 100, "web": 300}, "val": {"text": 20, "web": 180}}


def by_source(factor: float = 1.0) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, (loss, bits) in BY_SOURCE.items():
        values |= {f"val/{name}/loss": factor * loss, f"val/{name}/bits_per_byte": factor * bits}
    return values


@pytest.fixture
def mixture(finished: Path) -> record.Record:
    """The finished run as one on a mixture of two sources, evaluated in training on 50 of 200 tokens."""
    run = record.read(finished)
    assert run.data is not None
    splits = {
        split: {n: {"tokens": t, "documents": 1, "bytes": 2 * t, "files": []} for n, t in tokens.items()}
        for split, tokens in TOKENS.items()
    }
    data = dataclasses.replace(run.data, counts={**run.data.counts, "splits": splits})
    facts = {**run.facts, "shares": WEIGHTS}
    metrics = [{**line, **by_source(50 / line["step"])} if "val/loss" in line else line for line in run.metrics]
    perplexity = {**run.evaluation["perplexity"], **by_source(), "max_tokens": 0}
    config = {**run.config, "train": {**run.config["train"], "eval_tokens": 50}}
    return dataclasses.replace(
        run,
        data=data,
        facts=facts,
        metrics=metrics,
        config=config,
        evaluation={**run.evaluation, "perplexity": perplexity},
    )


def evaluated(run: record.Record, **changes: Any) -> record.Record:
    """The run with another eval.json: `step`, or `max_tokens` of its own split."""
    step = changes.pop("step", run.evaluation["step"])
    perplexity = {**run.evaluation["perplexity"], **changes}
    return dataclasses.replace(run, evaluation={**run.evaluation, "step": step, "perplexity": perplexity})


def test_the_whole_split_of_the_newest_step_goes_before_the_part_scored_in_training(mixture: record.Record) -> None:
    whole, part = validation.newest(mixture), validation.in_training(mixture)
    assert whole is not None
    assert part is not None
    assert (whole.loss, whole.bits_per_byte, whole.step) == (1.5, 2.25, 40)
    assert part.loss == pytest.approx(3 / math.sqrt(40) + 1)
    assert (whole.scope, part.scope) == ("all held-out text", "the first 50 of 200 held-out tokens")
    assert whole.sources == BY_SOURCE


@pytest.mark.parametrize("changes", [{"step": 30}, {"max_tokens": 100}])
def test_figures_of_another_step_or_of_a_part_do_not(mixture: record.Record, changes: dict[str, Any]) -> None:
    run = evaluated(mixture, **changes)
    assert validation.newest(run) == validation.in_training(run)


def test_bounds_beyond_the_split_are_the_whole_split(mixture: record.Record) -> None:
    assert validation.scope(mixture, 200) == validation.scope(mixture, 0) == "all held-out text"
    assert validation.newest(evaluated(mixture, max_tokens=200)) == validation.newest(mixture)
    elsewhere = dataclasses.replace(mixture, data=None)  # how long the split is cannot be known
    assert validation.scope(elsewhere, 200) == "the first 200 held-out tokens"


def test_the_headline_names_both_and_what_they_are_of(mixture: record.Record) -> None:
    note = {line.label: line for line in report.headlines(mixture)}["Validation loss"].note
    assert note.startswith("at step 40 on all held-out text; in training 1.474 on the first 50 of 200 held-out tokens")


def test_the_table_weighs_sources_as_the_text_does_and_as_training_did(mixture: record.Record) -> None:
    rows = {row.name: row for row in validation.table(mixture)}
    assert list(rows) == ["text", "web", "all held-out text", "as mixed in training"]
    assert (rows["text"].trained, rows["text"].held_out) == (0.75, 0.1)
    assert (rows["web"].trained, rows["web"].held_out) == (0.25, 0.9)
    assert (rows["web"].loss, rows["web"].bits_per_byte) == BY_SOURCE["web"]
    assert rows["all held-out text"].loss == 1.5
    assert rows["as mixed in training"].loss == 0.75 * 2.0 + 0.25 * 1.0


def test_a_run_that_tells_no_shares_took_the_text_as_it_is(mixture: record.Record) -> None:
    run = dataclasses.replace(mixture, facts={key: fact for key, fact in mixture.facts.items() if key != "shares"})
    assert [row.trained for row in validation.table(run)][:2] == [0.25, 0.75]


def test_a_source_trained_on_but_not_held_out_leaves_no_mixed_figure(mixture: record.Record) -> None:
    perplexity = {k: v for k, v in mixture.evaluation["perplexity"].items() if not k.startswith("val/text/")}
    run = dataclasses.replace(mixture, evaluation={**mixture.evaluation, "perplexity": perplexity})
    assert [row.name for row in validation.table(run)] == ["web", "all held-out text"]


def test_a_single_source_has_no_table(finished: Path) -> None:
    run = record.read(finished)
    assert validation.table(run) == []
    assert validation.sources(run) == []


def test_curves_by_source_are_those_logged(mixture: record.Record) -> None:
    assert validation.sources(mixture) == ["text", "web"]
    figure: Any = figures.loss_by_source(mixture, 400, 240)
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines][:3]
    assert [steps for steps, _ in drawn] == [[10, 20, 30, 40]] * 3
    assert drawn[0][1] == pytest.approx([2.0 * 50 / step for step in (10, 20, 30, 40)])
    assert drawn[2][1] == pytest.approx([3 / math.sqrt(step) + 1 for step in (10, 20, 30, 40)])
    assert [text.get_text() for text in figure.texts] == ["web 1.250", "all 1.474", "text 2.500"]


def test_the_page_shows_both(mixture: record.Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report.record, "read", lambda _: mixture)
    html = report.write(tmp_path).read_text()
    assert html.index("Validation loss by source") < html.index("as mixed in training")
    assert "the first 50 of 200 held-out tokens each time" in html
    assert "Of the model at step 40 on all held-out text." in html
    assert "the run’s validation split: all held-out text" in html
    assert (tmp_path / runs.REPORT).is_file()
