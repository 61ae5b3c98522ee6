"""The whole way on this machine's own text: tokenizer, shards, pretraining, evaluation, samples, report.

lm quickstart --workdir=runs/quickstart

Finished stages are used again. Ends with what was made and what to try next.
"""

from __future__ import annotations

import json
from pathlib import Path

from ml_collections import ConfigDict

from lm.stages import required_workdir


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "quickstart",
            "pretrain": "configs/pretrain/quickstart.py",  # FILE[:arg], a config for `lm pretrain`
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Runs the stages one after another, and prints the table of what was made."""
    from lm.common import config as configs
    from lm.common.progress import Stopwatch
    from lm.stages import eval as evaluation
    from lm.stages import pretrain
    from lm.study import report
    from lm.train import run as runs

    output = required_workdir(workdir)
    watch = Stopwatch()
    pretrain.run(configs.load_for("pretrain", cfg.pretrain, pretrain.defaults(), "--config.pretrain"), output, watch)
    if not runs.is_finished(output):  # stopped by a signal, and said so
        return
    if not _is_evaluated(output):
        settings = evaluation.defaults()
        settings.run, settings.world = str(output), True
        evaluation.run(settings, None)
    watch.lap("evaluation")
    report.write(output)
    watch.lap("report")
    print(f"\n{report.summary(output)}\n\nTime on this machine, of this call:\n{watch.table()}\n")
    print(
        "Next:\n"
        f"  look         {output / runs.REPORT}\n"
        f'  write        .venv/bin/lm sample --run={output} --prompt="def "\n'
        "  your text    .venv/bin/lm pretrain --config=configs/pretrain/tiny.py "
        "--config.data.path=FILE_OR_FOLDER --workdir=runs/mine"
    )


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
