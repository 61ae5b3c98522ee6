"""Writes a run's report.html, finished or not: lm report --run=runs/mine"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

SUBJECT = "run"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "report",
            "run": "",  # a run directory
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints the run's headline figures and writes its report."""
    from lm.common.errors import UserError
    from lm.study import report

    if not (directory := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/shakespeare")
    print(report.summary(Path(directory)))
    print(f"{report.write(Path(directory))}: curves, samples, data and parameters")
