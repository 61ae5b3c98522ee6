"""The small run of the handbook: what a reader would type, small enough to be over in a minute.

lm quickstart --config.pages=300 --config.pretrain=docs/small_run.py --workdir=DIR
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; it takes no argument."""
    cfg = defaults.pretrain()
    cfg.data.mixture = {
        "web": {"path": "runs/quickstart/curated", "weight": 0.4},  # the quickstart puts its own there
        "stdlib": {"path": "builtin:stdlib", "weight": 0.2},
        "world": {"path": "builtin:world?n=3000", "weight": 0.4},
    }
    cfg.data.validation = 0.01
    cfg.tokenizer.vocab_size = 1024
    cfg.model.size = 2
    cfg.model.max_seq_len = 64
    cfg.train.steps = 120
    cfg.train.batch_size = 16
    cfg.train.log_every = 2
    cfg.train.eval_every = 20
    cfg.train.eval_tokens = 16_384
    cfg.train.checkpoint_every = 40
    cfg.sample.prompts = ("One day ", "Question:")
    cfg.sample.max_new_tokens = 60
    return cfg
