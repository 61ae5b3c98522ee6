"""One dial for the size of the model; width, depth, batch, learning rate and length follow from it.

lm pretrain --config=configs/pretrain/dial.py:6 --config.data.path=PATH_TO_TEXT --workdir=runs/dial6

The dial is the number of layers: 6 is about 10M parameters and 200M tokens, 12 about 85M and 1.7G, each plus the
vocabulary's. `--config.dry_run=True` prints every derived value with its source before anything runs. `:smoke` runs 20
steps of a small model.
"""

from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.train import defaults


def get_config(arg: str = "6") -> ConfigDict:
    """Returns the config; `arg` is the dial, or `smoke`."""
    cfg = defaults.pretrain()
    if arg not in ("", "smoke") and not arg.isdecimal():
        raise UserError(f"config argument {arg!r}: give the dial, such as :6, or :smoke")
    cfg.model.size = 1 if arg == "smoke" else int(arg or 6)
    cfg.model.max_seq_len = 1024
    cfg.train.eval_tokens = 1_000_000
    cfg.train.checkpoint_every = 500
    if arg == "smoke":
        cfg.model.max_seq_len, cfg.train.steps, cfg.train.batch_size = 64, 20, 8
    return cfg
