"""The run directory: what stands in it, and the four states it can be found in.

config.json      the resolved config: every value the run was made with
run.json         what was derived and why, parameters, hardware, versions
tokenizer/       the tokenizer                 shards/        token shards, where the run made its own
checkpoints/     one directory a step          metrics.jsonl  one object a logged step
samples.json     continuations at the end      report.html    all of it to look at
events.jsonl     what happened to it            nonfinite.json what a broken batch was made of
profiles/        traces of some of its steps    profile        asks for one (see profiles.py)
sharding.json    what lies on which device, where there are several
manifest.json    last of all: the run is finished
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.buckets import CHECKPOINTS
from lm.common.config import differences
from lm.common.errors import UserError
from lm.model.config import ModelConfig

CONFIG, RUN, METRICS, SAMPLES = "config.json", "run.json", "metrics.jsonl", "samples.json"
EVALUATION, REPORT = "eval.json", "report.html"
TOKENIZER, SHARDS, TENSORBOARD = "tokenizer", "shards", "tensorboard"

# What may change between a run and its continuation: it is how the run is watched and where it runs, not what it is.
FREE_KEYS = (
    "cluster.",
    "dry_run",
    "data.workers",
    "mesh.",
    "model.attention_backend",
    "model.pipeline_",
    "model.remat",
    "optimizer.offload",
    "sample.",
    "train.log_every",
    "train.loss_chunk",
    "train.microbatches",
    "train.eval_every",
    "train.eval_tokens",
    "train.checkpoint_every",
    "train.keep_last",
    "train.keep_best",
    "train.guard.",
    "train.watchdog_seconds",
    "train.restore_fallback",
    "train.tensorboard",
    "train.allow_unverified",
    "train.compilation_cache",
    "train.profile_",
    "train.wandb",
)


def read_config(directory: Path) -> dict[str, Any]:
    """Returns a run's resolved config.

    Raises:
        UserError: the directory holds no run, or a checkpoint in another format, or its config is damaged.
    """
    config = _read(directory, CONFIG)
    if "model" not in config:
        raise UserError(
            f"{directory}: no run of ours; `lm import --from={directory} --workdir=DIR` makes one of a checkpoint in "
            "Hugging Face's format, or of what `lm export` wrote"
        )
    return config


def model_of(config: Mapping[str, Any]) -> ModelConfig:
    """Returns the model of a resolved config as it is computed after training, without `model.quantize`."""
    return replace(ModelConfig.from_dict(config["model"]), quantize="none")


def read_facts(directory: Path) -> dict[str, Any]:
    """Returns what `run.json` tells of a run.

    Raises:
        UserError: the directory holds no run, or its facts are damaged.
    """
    return _read(directory, RUN)


def near(path: Path) -> list[str]:
    """Returns runs of names like that of `path`: in its folder, or in folders beside that where it is not there."""
    depth = 1 if path.parent.is_dir() else 2
    found = [facts.parent for facts in path.parents[depth - 1].glob("*/" * depth + RUN)]
    there = {"/".join(run.parts[-depth:]): str(run) for run in sorted(found)}
    return [there[name] for name in difflib.get_close_matches("/".join(path.parts[-depth:]), there, n=3)]


def whereabouts(path: Path) -> str:
    """Returns why there is no run at a path, and what to do about it: `no such directory; did you mean runs/mine?`"""
    if path.is_file():
        return "is a file; name a run's directory"
    if path.is_dir():
        return f"no run here ({CONFIG} is missing); `lm pretrain --workdir={path}` makes one"
    if meant := near(path):
        return f"no such directory; did you mean {' or '.join(meant)}?"
    return f"no such directory; `lm pretrain --workdir={path}` makes a run there"


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    if not (directory / CONFIG).is_file():
        raise UserError(f"{directory}: {whereabouts(directory)}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; restore it, or start the run anew") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); restore it, or start the run anew") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object; restore it, or start the run anew")
    return values


def claim(directory: Path, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Makes the directory this config's run over this data, writing `config.json` and `run.json`.

    A run that is there already must be the same but for its free keys; a finished one is left as it is.

    Raises:
        UserError: the directory holds a run made with another config or from other data; what differs is named.
    """
    if (directory / CONFIG).is_file():
        changed = [
            f"{key} {old!r} → {new!r}"
            for key, old, new in differences(read_config(directory), config)
            if not key.startswith(FREE_KEYS)
        ]
        if (directory / RUN).is_file():
            before = json.loads((directory / RUN).read_text(encoding="utf-8"))
            changed += [] if before["data"] == facts["data"] else ["the shards themselves"]
        if changed:
            raise UserError(
                f"{directory}: holds a run made with another config (changed: {'; '.join(changed)}); "
                "choose another --workdir, or give the old values"
            )
    if is_finished(directory):
        return
    directory.mkdir(parents=True, exist_ok=True)
    manifest.write_atomic(directory / RUN, json.dumps(facts, indent=1) + "\n")
    manifest.write_atomic(directory / CONFIG, json.dumps(config, indent=1) + "\n")


def shards_directory(directory: Path) -> str:
    """Returns where a run's shards are: inside it where it made its own, else where its config says."""
    own = directory / SHARDS
    return str(own) if own.is_dir() else read_config(directory)["data"]["path"]


def finish(
    directory: Path,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    counts: Mapping[str, Any],
    stage: str = "pretrain",
) -> None:
    """Writes the manifest over everything that is the run, checkpoints included; derived views are left out."""
    files: Iterable[Path] = (
        path
        for name in (CONFIG, RUN, METRICS, SAMPLES, TOKENIZER, CHECKPOINTS)
        for path in ([directory / name] if (directory / name).is_file() else (directory / name).rglob("*"))
        if path.is_file()
    )
    manifest.write(directory, stage=stage, config=config, inputs=inputs, counts=counts, files=files)


def is_finished(directory: Path) -> bool:
    """Says whether the run in the directory was trained to its end."""
    return (directory / manifest.NAME).is_file()


def is_imported(directory: Path) -> bool:
    """Says whether the directory holds a model that was trained elsewhere, as `lm import` makes one."""
    return (directory / RUN).is_file() and "imported" in read_facts(directory)
