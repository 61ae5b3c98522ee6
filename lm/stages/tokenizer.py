"""Trains a tokenizer on text: lm tokenizer --config.data.path=TEXT --config.tokenizer.kind=byte_bpe --workdir=DIR

With --config.report.sizes=(2048,8192) it also prints bytes per token and embedding memory by kind and vocabulary size.
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
            "dry_run": False,  # say what would be read
            "report": {
                "sizes": (),  # vocabularies to compare on a held-out tenth, such as (2048,8192); none: no comparison
                "kinds": ("byte_bpe", "sentencepiece_bpe", "wordpiece"),  # to compare
                "d_model": 512,  # the embedding's width, for its memory
            },
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
    if cfg.report.sizes:
        from lm.data.tokenizer import report

        wanted = {key: value for key, value in cfg.tokenizer.items() if key != "path"}
        rows = report.compare(wanted, prepare.Texts(splits.train), cfg.report.kinds, cfg.report.sizes)
        print(report.table(rows, cfg.report.d_model))
