"""A published architecture on your own text, from scratch.

lm pretrain --config=configs/pretrain/preset.py:gpt2-124m --config.data.path=PATH_TO_TEXT --workdir=runs/gpt2

The argument is a name of `lm.model.presets`; `lm inspect NAME` shows what it stands for. The vocabulary is the
tokenizer's and sequences have at most 2048 tokens, unless --config.model.… says otherwise; batch, learning rate and
length follow from the size. `:smoke` runs 20 steps of a small model of GPT-2's kind.
"""

from ml_collections import ConfigDict

from lm.train import defaults

LONGEST = 2048


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` is the preset's name, or `smoke`."""
    cfg = defaults.pretrain()
    smoke = arg == "smoke"
    cfg.model = defaults.preset("gpt2-124m" if smoke else arg or "gpt2-124m")
    cfg.model.max_seq_len = min(cfg.model.max_seq_len, LONGEST)
    cfg.train.eval_tokens = 1_000_000
    cfg.train.checkpoint_every = 500
    if smoke:
        cfg.model.update(n_layers=2, d_model=32, n_heads=2, n_kv_heads=2, head_width=16, d_ff=128, max_seq_len=64)
        cfg.train.steps, cfg.train.batch_size = 20, 8
    return cfg
