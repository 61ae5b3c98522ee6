"""Tokenizes text into memory-mapped shards: lm shard --config.data.path=TEXT --workdir=DIR

Trains a tokenizer first unless --config.tokenizer.path names one. Token files made elsewhere come in with
--config.data.format=nanogpt, megatron or arrow_tokens.
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
            "stage": "shard",
            "dry_run": False,  # say what would be read
            "data": prepare.defaults(),
            "tokenizer": prepare.tokenizer_defaults(),
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Writes the shards into `workdir`, or uses finished ones again."""
    from lm.data import prepare

    output = required_workdir(workdir)
    splits = prepare.Splits(cfg.data)
    if cfg.dry_run:
        print(prepare.describe(splits))
        return
    # Beside the shards' own copy, so that a stopped run need not learn the tokenizer again.
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, output / "tokenizer_training")
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, output)
    for split in shards.splits:
        print(
            f"{output}: {split} {shards.n_tokens(split):,} tokens, {shards.bytes_per_token(split):.2f} bytes per token"
        )
