"""Hashes every file of a stage directory against its manifest: lm verify --dir=runs/mine"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

SUBJECT = "dir"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "verify",
            "dir": "",  # a run, tokenizer or shard directory, or one with such inside
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Checks the directory and the finished stages inside it, and fails on the first that differs."""
    from lm.common import manifest
    from lm.common.errors import UserError

    if not (directory := cfg.dir or workdir):
        raise UserError("--dir: not given; name a run, tokenizer or shard directory")
    root = Path(directory)
    stages = sorted(path.parent for path in root.rglob(manifest.NAME))
    if not stages:
        raise UserError(f"{root}: no {manifest.NAME} here or below; nothing finished to verify")
    damaged = []
    for stage in stages:
        problems = manifest.verify(stage)
        print(f"{stage}: {len(manifest.read(stage).files)} files, {len(problems)} damaged")
        damaged += problems
    if damaged:
        raise UserError("; ".join(damaged) + "; make the stage again, or restore these files")
