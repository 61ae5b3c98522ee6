"""Evaluates a run: lm eval --run=runs/mine [--text=HELD_OUT_TEXT] [--world=True]

Perplexity and bits per byte on the run's own validation split, or on any text (--text); with --world=True also
accuracy on questions about a generated world. Results are printed and kept in the run's eval.json; --dry_run=True
checks everything and says what would be scored.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict, config_dict

if TYPE_CHECKING:
    from lm.api import Model
    from lm.data.readers import Documents
    from lm.data.shards import Shards

SUBJECT = "run"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "eval",
            "dry_run": False,  # check everything and say what would happen
            "run": "",  # a run directory
            "step": config_dict.placeholder(int),  # a checkpoint's step; the newest if unset
            "best": False,  # the checkpoint of the lowest validation loss
            "text": "",  # a file or folder to score instead of the run's validation split
            "format": "auto",  # of that text; this and the next two are as data.format, … of `lm shard`
            "text_key": "text",  # of JSONL, parquet and Arrow: the field that holds the text
            "separator": "",  # cuts txt files into documents
            "max_tokens": 0,  # to score; 0 is all
            "loss_chunk": 0,  # places of a sequence whose logits are in memory at once; 0: all
            "batch_size": 32,  # sequences, or questions, at a time
            "world": False,  # ask the generated world's questions too
            "world_seed": 0,  # of the world the questions are about
            "questions": 600,  # how many
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Scores the run and writes eval.json; figures of the same checkpoint are added to what is there."""
    from lm import api
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.study import record
    from lm.train import run as runs

    if not (name := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/mine")
    _check_ranges(cfg)
    directory = Path(name)
    path = directory / runs.EVALUATION
    config, before = runs.read_config(directory), record.read_json(path, {})
    held_out = _held_out(cfg, directory)  # before the model, which may take long to load
    model = api.load(directory, step=cfg.step, best=cfg.best)
    if cfg.dry_run:
        print(f"step {model.step} of {directory} would be scored on {_describe(cfg, held_out)}; figures go to {path}")
        return
    results = before if before.get("step") == model.step else {"step": model.step}
    if cfg.text:
        results["text"] = {"path": cfg.text, **_score_text(cfg, directory, model, held_out, config["data"])}
    else:
        results["perplexity"] = _score(cfg, model, held_out)
    if cfg.world:
        results["questions"] = _questions(cfg, model)
    manifest.write_atomic(path, json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print(f"{path}: figures of step {model.step}")


def _check_ranges(cfg: ConfigDict) -> None:
    from lm.common.errors import UserError

    for key, lowest in (("batch_size", 1), ("questions", 1), ("max_tokens", 0), ("loss_chunk", 0)):
        if cfg[key] < lowest:
            raise UserError(f"--{key}={cfg[key]}: must be at least {lowest}")


def _held_out(cfg: ConfigDict, directory: Path) -> Any:
    """Returns the documents of the given text, or the run's shards that have a validation split."""
    from lm.common.errors import UserError
    from lm.data.readers import open_documents
    from lm.data.shards import Shards
    from lm.train import run as runs

    if cfg.text:
        return open_documents(cfg.text, format=cfg.format, text_key=cfg.text_key, separator=cfg.separator)
    if runs.is_imported(directory):
        raise UserError(f"{directory}: an imported model, which has no text of its own; give --text=FILE")
    shards = Shards.open(runs.shards_directory(directory))
    if "val" not in shards.splits:
        raise UserError(f"{directory}: data.validation was 0, so nothing is held out; give --text=FILE")
    return shards


def _describe(cfg: ConfigDict, held_out: Any) -> str:
    """Returns what a dry run would score."""
    text = held_out.describe() if cfg.text else f"{held_out.n_tokens('val'):,} validation tokens"
    bound = f" (at most {cfg.max_tokens:,} tokens)" if cfg.max_tokens else ""
    return text + bound + (f" and {cfg.questions} questions" if cfg.world else "")


def _score_text(
    cfg: ConfigDict, directory: Path, model: Model, documents: Documents, data: dict[str, Any]
) -> dict[str, float | None]:
    """Scores text, tokenized as the run's was into a directory that goes away again."""
    from lm.data import prepare
    from lm.data.shards import Shards, write_shards
    from lm.train import run as runs

    with tempfile.TemporaryDirectory() as scratch:
        write_shards(
            {"val": {prepare.ONE_SOURCE: documents}},
            directory / runs.TOKENIZER,
            Path(scratch),
            config={},
            inputs={},
            bos=data["bos"],
            eos=data["eos"],
        )
        return _score(cfg, model, Shards.open(scratch))


def _score(cfg: ConfigDict, model: Model, shards: Shards) -> dict[str, float | None]:
    """Returns the figures by name, None for those that cannot be known, and how many tokens they are over at most."""
    from lm.evals.perplexity import Perplexity

    evaluator = Perplexity(
        model.config,
        shards,
        model.tokenizer.token_bytes(),
        split="val",
        batch_size=cfg.batch_size,
        max_tokens=cfg.max_tokens,
        loss_chunk=cfg.loss_chunk,
    )
    values = {name: value if math.isfinite(value) else None for name, value in evaluator(model.params).items()}
    print(_lines(values))
    return {**values, "max_tokens": cfg.max_tokens}


def _lines(values: dict[str, float | None]) -> str:
    """Returns the figures of the whole split on a line, and those of each source on one of their own."""
    lines: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            lines.setdefault(name.rpartition("/")[0], []).append(f"{name} {value:.4f}")
    return "\n".join("  ".join(line) for line in lines.values())


def _questions(cfg: ConfigDict, model: Model) -> dict[str, Any]:
    """Asks the world's questions about entities no training document names, in batches of like length."""
    from lm.common.progress import Progress
    from lm.data.synthetic import World
    from lm.evals.questions import score

    def generate(prompts: list[str]) -> list[str]:
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers = [""] * len(prompts)
        with Progress("questions", len(prompts), "asked") as progress:
            for first in range(0, len(order), cfg.batch_size):
                rows = order[first : first + cfg.batch_size]
                asked = [prompts[i] for i in rows]
                for i, answer in zip(rows, model.generate(asked, max_new_tokens=12, temperature=0.0), strict=True):
                    answers[i] = answer
                progress.advance(len(rows))
        return answers

    result = score(generate, World(cfg.world_seed).questions("test", cfg.questions))
    for kind, row in {**result["by_kind"], "overall": result["overall"]}.items():
        low, high = row["interval"]
        print(
            f"{kind:<14} {row['correct']:>4}/{row['n']:<4} {100 * row['accuracy']:5.1f} %  "
            f"[{100 * low:.0f}, {100 * high:.0f}]  chance {100 * row['chance']:.0f} %"
        )
    return result
