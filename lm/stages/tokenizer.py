"""Trains a tokenizer on text: lm tokenizer --config.data.path=TEXT --config.tokenizer.kind=byte_bpe --workdir=DIR

With --config.report=True it also prints bytes per token and embedding memory by kind and vocabulary size.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from lm.stages import required_workdir


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    from lm.data import prepare

    return ConfigDict(
        {
            "stage": "tokenizer",
            "dry_run": False,
            "report": False,
            "data": prepare.defaults(),
            "tokenizer": prepare.tokenizer_defaults(),
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Trains the tokenizer into `workdir`, or uses a finished one again."""
    from lm.common import manifest
    from lm.data import prepare

    output = required_workdir(workdir)
    splits = prepare.Splits(cfg.data)
    if cfg.dry_run:
        print(prepare.describe(splits))
        return
    prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, output)
    counts = manifest.read(output, "tokenizer").counts
    print(f"{output}: {counts['vocab_size']:,} tokens, {counts.get('bytes_per_token', 0):.2f} bytes per token")
    if cfg.report:
        from lm.data.tokenizer import report

        print(report.table(prepare.Texts(splits.train), width=512))
