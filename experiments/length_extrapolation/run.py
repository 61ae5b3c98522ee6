r"""Trains a model for each position code and scores it at one, two and four times the context it was trained at.

python experiments/length_extrapolation/run.py --text=tinyshakespeare.txt --workdir=runs/length

Writes `results.json` into the workdir and prints the table. `--smoke` trains 20 steps of smaller models.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lm import api
from lm.data.shards import Shards
from lm.evals.perplexity import Perplexity
from lm.model.config import ModelConfig, RopeScaling
from lm.train import run as runs

HERE = Path(__file__).parent
TIMES = (1, 2, 4)
# How a model trained with a position code is read at longer contexts: with it as it is, or with RoPE stretched.
READINGS: dict[str, tuple[RopeScaling, ...]] = {
    "rope": ("none", "linear", "ntk", "yarn"),
    "alibi": ("none",),
    "none": ("none",),
}


def train(position: str, text: str, workdir: Path, smoke: bool) -> Path:
    """Trains the model with a position code, or goes on where it stopped; returns its run directory."""
    config = f"{HERE / 'config.py'}:{position}{':smoke' if smoke else ''}"
    command = ["pretrain", f"--config={config}", f"--config.data.path={text}", f"--workdir={workdir / position}"]
    subprocess.run([sys.executable, "-m", "lm.cli", *command], check=True)
    return workdir / position


def stretched(cfg: ModelConfig, scaling: RopeScaling, times: int) -> ModelConfig:
    """Returns the model at `times` its context, its rotary positions stretched as much."""
    longer = replace(cfg, max_seq_len=times * cfg.max_seq_len)
    if scaling == "none" or times == 1:
        return longer
    original = cfg.max_seq_len if scaling == "yarn" else 0
    return replace(longer, rope=replace(cfg.rope, scaling=scaling, factor=float(times), original_len=original))


def losses(run: Path, scaling: RopeScaling, tokens: int) -> list[float]:
    """Returns the held-out loss in nats a token at each of `TIMES` the context, over the same first `tokens`."""
    model, found = api.load(run), []
    shards, token_bytes = Shards.open(runs.shards_directory(run)), model.tokenizer.token_bytes()
    for times in TIMES:
        cfg = stretched(model.config, scaling, times)
        score = Perplexity(cfg, shards, token_bytes, split="val", batch_size=32 // times, max_tokens=tokens)
        found.append(score(model.params)["val/loss"])
    return found


def main() -> None:
    """Trains, scores and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="one long text")
    parser.add_argument("--workdir", required=True, type=Path)
    parser.add_argument("--tokens", type=int, default=65_536, help="held-out tokens to score")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    results = {}
    print("| position | read with | " + " | ".join(f"{times} ×" for times in TIMES) + " |")
    print("|---|---|" + "---:|" * len(TIMES))
    for position, scalings in READINGS.items():
        run = train(position, options.text, options.workdir, options.smoke)
        for scaling in scalings:
            results[f"{position}/{scaling}"] = found = losses(run, scaling, options.tokens)
            print(f"| {position} | {scaling} | " + " | ".join(f"{loss:.3f}" for loss in found) + " |")
    (options.workdir / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
