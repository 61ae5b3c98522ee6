"""The whole way, from a crawl to a model that writes: curation, tokenizer, shards, pretraining, evaluation, report.

lm quickstart --workdir=runs/quickstart

The crawl is generated: WARC pages with planted boilerplate, duplicates, spam, toxic text, PII and leaked questions, so
that curation can be scored against the truth. Finished stages are used again. Ends with what was made and what to try
next.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lm.stages import required_workdir

CRAWL, CURATED, SCORE = "crawl", "curated", "curation_score.json"
_SOURCE = "web"  # what the pretraining config calls the curated text


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "quickstart",
            "pages": 4000,  # of the generated crawl
            "seed": 0,  # of the crawl
            "curate": "configs/curate/quickstart.py",  # FILE[:arg], a config for `lm curate`
            "pretrain": "configs/pretrain/quickstart.py",  # FILE[:arg], a config for `lm pretrain`
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Runs the stages one after another, and prints the table of what was made."""
    from lm.common import config as configs
    from lm.common.progress import Stopwatch
    from lm.stages import curate, pretrain
    from lm.stages import eval as evaluation
    from lm.study import report
    from lm.train import run as runs

    output = required_workdir(workdir)
    curation = configs.load_for("curate", cfg.curate, curate.defaults(), "--config.curate")
    training = configs.load_for("pretrain", cfg.pretrain, pretrain.defaults(), "--config.pretrain")
    watch = Stopwatch()
    truth = _crawl(output / CRAWL, cfg.pages, cfg.seed)
    watch.lap("crawl")
    curation.input, curation.output = str(truth.crawl), str(output / CURATED)
    curation.decontaminate.paths = (str(truth.benchmark),)
    curate.run(curation, None)
    scored = _score(output, truth)
    watch.lap("curation")
    training.data.mixture[_SOURCE].path = str(output / CURATED)
    pretrain.run(training, output, watch)
    if not runs.is_finished(output):  # stopped by a signal, and said so
        return
    if not _is_evaluated(output):
        settings = evaluation.defaults()
        settings.run, settings.world = str(output), True
        evaluation.run(settings, None)
    watch.lap("evaluation")
    report.write(output)
    watch.lap("report")
    print(f"\nCuration, against what is true of the crawl:\n{_table(scored)}")
    print(f"\n{report.summary(output)}\n\nTime on this machine, of this call:\n{watch.table()}\n")
    print(
        "Next:\n"
        f"  look         {output / runs.REPORT}\n"
        f"               {output / CURATED / runs.REPORT}\n"
        f'  write        .venv/bin/lm sample {output} --prompt="def "\n'
        f"  trace        .venv/bin/lm trace {output} --step=100 --row=0\n"
        "  your text    .venv/bin/lm pretrain --config=configs/pretrain/tiny.py "
        "--config.data.path=FILE_OR_FOLDER --workdir=runs/mine"
    )


def _crawl(directory: Path, pages: int, seed: int) -> Any:
    """Writes the crawl and what is true of it, unless it is there, and returns the truth."""
    from lm.common import manifest
    from lm.data.synthetic import crawl

    config = {"pages": pages, "seed": seed}
    if manifest.find_same(directory, "crawl", config=config, inputs={}) is None:
        crawl.write_crawl(directory, seed=seed, n_pages=pages)
        files = [path for path in directory.rglob("*") if path.is_file()]
        manifest.write(directory, stage="crawl", config=config, inputs={}, counts={"pages": pages}, files=files)
    return crawl.load(directory)


def _score(output: Path, truth: Any) -> dict[str, dict[str, float]]:
    """Holds the curation against the truth, and keeps the figures beside it."""
    from lm.common import manifest
    from lm.evals import curation

    scored = curation.score(output / CURATED, truth)
    scored = {name: row for name, row in scored.items() if row["of"]}  # a small crawl has not something of everything
    manifest.write_atomic(output / SCORE, json.dumps(scored, indent=1) + "\n")
    return scored


def _table(scored: dict[str, dict[str, float]]) -> str:
    return "\n".join(f"  {name:<26} {row['value']:.4f}  of {row['of']:,}" for name, row in scored.items())


def _is_evaluated(output: Path) -> bool:
    """Says whether eval.json holds the finished run's figures already."""
    from lm.common import manifest
    from lm.train import run as runs

    path = output / runs.EVALUATION
    finished = manifest.read(output, "pretrain").counts["steps"]
    return (
        path.is_file()
        and (found := json.loads(path.read_text(encoding="utf-8"))).get("step") == finished
        and "questions" in found
    )
