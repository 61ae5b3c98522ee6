"""Says where a training batch came from: lm trace runs/mine --step=100

For every row of the step's batch: source, shard and token offset, and the documents in it; of documents that `lm
curate` kept also the file and record they were, their address, and what was done to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

SUBJECT = "run"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "trace",
            "run": "",  # a run directory
            "step": config_dict.placeholder(int),  # from 1 to the run's last
            "row": config_dict.placeholder(int),  # of the batch, from 0; every row if unset
            "characters": 160,  # of each document's text that are shown; 0 shows none
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints the rows of one batch with their documents."""
    from lm.common.errors import UserError
    from lm.data.shards import Shards, training_examples
    from lm.train import run as runs
    from lm.train import setup

    if not (name := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as lm trace runs/mine --step=100")
    directory = Path(name)
    config = ConfigDict(runs.read_config(directory))
    if runs.is_imported(directory):
        raise UserError(f"{directory}: an imported model, whose training batches are not known here")
    facts = runs.read_facts(directory)
    if cfg.step is None or not 1 <= cfg.step <= config.train.steps:
        raise UserError(f"--step={cfg.step}: give a step of the run, from 1 to {config.train.steps}")
    plan = setup.plan(config)
    first, size = plan.first_example(cfg.step - 1), plan.size(cfg.step - 1)
    if cfg.row is not None and not 0 <= cfg.row < size:
        raise UserError(f"--row={cfg.row}: the batch of step {cfg.step} has rows 0 to {size - 1}")
    shards = Shards.open(runs.shards_directory(directory))
    examples = training_examples(
        shards, "train", seq_len=config.model.max_seq_len, seed=config.train.seed, weights=facts["shares"]
    )
    chosen = range(size) if cfg.row is None else (cfg.row,)
    rows = {row: examples.provenance(first + row) for row in chosen}
    paths = shards.manifest.config["paths"]
    known = _curated(paths, rows.values())
    for source in known:
        print(f"{source}: kept by {_rules(Path(paths[source]))}")
    for row, found in rows.items():
        print(f"step {cfg.step} row {row}: {found['source']}, {found['shard']} from token {found['offset']}")
        for id in found["documents"]:
            print(f"  {id}")
            if id in known.get(found["source"], {}):
                _print_document(known[found["source"]][id], cfg.characters)


def _curated(paths: dict[str, str], rows: Any) -> dict[str, dict[str, Any]]:
    """Returns by source, where a source is what `lm curate` made, the documents named in the rows."""
    from lm.data.curate import output
    from lm.data.readers.curated import is_curated

    ids: dict[str, set[str]] = {}
    for row in rows:
        ids.setdefault(row["source"], set()).update(row["documents"])
    for source in ids:
        if not Path(paths[source]).exists() and "://" not in paths[source] and not paths[source].startswith("builtin:"):
            print(f"{source}: {paths[source]} is not to be found from here, so its records are named but not shown")
    return {
        source: output.find(Path(paths[source]), wanted)
        for source, wanted in ids.items()
        if is_curated(Path(paths[source]))
    }


def _rules(directory: Path) -> str:
    """Returns the steps that every document of a curation went through, in their order, each with its limits."""
    from lm.common import manifest
    from lm.data.curate.steps import PIVOT

    config = manifest.read(directory).config
    said = []
    for step in config["steps"]:
        own = {key.removeprefix(f"{step}."): value for key, value in config.items() if key.startswith(f"{step}.")}
        limits = {key: value for key, value in own.items() if key.split("_")[0] in ("min", "max") and value is not None}
        if step == PIVOT:  # whose limits are off at 0
            limits = {key: value for key, value in limits.items() if value}
        said.append(f"{step} ({', '.join(f'{key}={value:g}' for key, value in limits.items())})" if limits else step)
    return ", ".join(said)


def _print_document(record: dict[str, Any], characters: int) -> None:
    for key, value in sorted(record["meta"].items()):
        print(f"    {key}: {value}")
    if characters:
        text = " ".join(record["text"].split())
        print(f"    text: {text[:characters]}{'…' if len(text) > characters else ''}")
