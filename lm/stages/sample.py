"""Continues a prompt: lm sample --run=runs/mine --prompt="ROMEO:" --max_new_tokens=200

Without --prompt it reads prompts from standard input, one a line, and continues each as it comes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict, config_dict

SUBJECT = "run"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "sample",
            "run": "",  # a run directory
            "prompt": "",  # what is continued; without one, each line of standard input
            "max_new_tokens": 200,  # of each continuation
            "temperature": 0.8,  # 0 always takes the likeliest token
            "top_k": 0,  # draw from so many likeliest tokens; 0: from all
            "top_p": 0.95,  # draw from the likeliest tokens that together have this probability
            "seed": 0,  # of the draws
            "step": config_dict.placeholder(int),  # a checkpoint's step; the newest if unset
            "best": False,  # the checkpoint of the lowest validation loss
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints the prompt and its continuation, as it is made."""
    from lm import api
    from lm.common.errors import UserError
    from lm.infer.sampling import Sampling

    if not (directory := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/shakespeare")
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p)
    model = api.load(directory, step=cfg.step, best=cfg.best)
    for prompt in [cfg.prompt] if cfg.prompt else _prompts():
        sys.stdout.write(prompt)
        for piece in model.stream(prompt, max_new_tokens=cfg.max_new_tokens, sampling=sampling, seed=cfg.seed):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


def _prompts() -> Iterator[str]:
    """Yields lines of standard input, showing a mark where a person types them."""
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        if not (line := sys.stdin.readline()):
            return
        if prompt := line.rstrip("\n"):
            yield prompt
