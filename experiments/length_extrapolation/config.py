"""Tiny Shakespeare by characters with the position code that the argument names: rope, alibi or none.

`rope:smoke` and so on run 20 steps of a smaller model.
"""

from pathlib import Path

from ml_collections import ConfigDict

from lm.common.config import load

BASE = Path(__file__).parents[2] / "configs/pretrain/shakespeare_char.py"


def get_config(arg: str = "rope") -> ConfigDict:
    """Returns the config of `configs/pretrain/shakespeare_char.py` with a context of 64 and another position code."""
    position, _, size = arg.partition(":")
    cfg = load(f"{BASE}:{size}")
    cfg.model.position = position
    cfg.model.max_seq_len = 64
    cfg.train.batch_size = 16
    cfg.train.eval_every = 0
    return cfg
