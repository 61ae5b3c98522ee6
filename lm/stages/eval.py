"""Evaluates a run: lm eval --run=runs/mine [--text=HELD_OUT_TEXT] [--world=True]

Perplexity and bits per byte on the run's own validation split, or on any text (--text); with --world=True also
accuracy on questions about a generated world. Results are printed and kept in the run's eval.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict, config_dict

if TYPE_CHECKING:
    from lm.api import Model
    from lm.data.shards import Shards


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "eval",
            "run": "",  # a run directory
            "step": config_dict.placeholder(int),  # a checkpoint's step; the newest if unset
            "best": False,  # the checkpoint of the lowest validation loss
            "text": "",  # a file or folder to score instead of the run's validation split
            "max_tokens": 0,  # 0 is all
            "batch_size": 32,
            "world": False,  # ask the generated world's questions too
            "world_seed": 0,
            "questions": 600,
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Scores the run and writes eval.json; figures of the same checkpoint are added to what is there."""
    from lm import api
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.train import run as runs

    if not (name := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/mine")
    directory = Path(name)
    model = api.load(directory, step=cfg.step, best=cfg.best)
    path = directory / runs.EVALUATION
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if results.get("step") != model.step:
        results = {"step": model.step}
    results |= _perplexity(cfg, directory, model)
    if cfg.world:
        results["questions"] = _questions(cfg, model)
    manifest.write_atomic(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(f"{path}: figures of step {model.step}")


def _perplexity(cfg: ConfigDict, directory: Path, model: Model) -> dict[str, Any]:
    """Scores the run's own validation split, or the given text, tokenized into a directory that goes away again."""
    from lm.common.errors import UserError
    from lm.data import prepare
    from lm.data.readers import open_documents
    from lm.data.shards import Shards, write_shards
    from lm.train import run as runs

    data = runs.read_config(directory)["data"]
    if not cfg.text:
        own = directory / runs.SHARDS
        shards = Shards.open(own if own.is_dir() else data["path"])
        if "val" not in shards.splits:
            raise UserError(f"{directory}: data.validation was 0, so nothing is held out; give --text=FILE")
        return {"perplexity": _score(cfg, model, shards)}
    with tempfile.TemporaryDirectory() as scratch:
        write_shards(
            {"val": {prepare.ONE_SOURCE: open_documents(cfg.text)}},
            directory / runs.TOKENIZER,
            Path(scratch),
            config={},
            inputs={},
            bos=data["bos"],
            eos=data["eos"],
        )
        return {"text": {"path": cfg.text, **_score(cfg, model, Shards.open(scratch))}}


def _score(cfg: ConfigDict, model: Model, shards: Shards) -> dict[str, float]:
    from lm.evals.perplexity import Perplexity

    evaluator = Perplexity(
        model.config,
        shards,
        model.tokenizer.token_bytes(),
        split="val",
        batch_size=cfg.batch_size,
        max_tokens=cfg.max_tokens,
    )
    values = evaluator(model.params)
    print("  ".join(f"{name} {value:.4f}" for name, value in values.items()))
    return values


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
