"""A small model on any text: a file, a folder, JSONL, parquet. About four minutes on two CPU cores.

lm pretrain --config=configs/pretrain/tiny.py --config.data.path=PATH_TO_TEXT --workdir=runs/mine

Trains its own tokenizer, of a vocabulary that suits the amount of text. `:smoke` runs 20 steps of a smaller model.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.data.validation = 0.1
    cfg.model.n_layers = 4
    cfg.model.d_model = 128
    cfg.model.n_heads = 4
    cfg.model.n_kv_heads = 2
    cfg.model.max_seq_len = 128
    cfg.model.scan_layers = False  # a fifth faster on a CPU; the parameters are the same either way
    cfg.optimizer.name = "muon"
    cfg.optimizer.peak_lr = 8e-3
    cfg.train.batch_size = 16
    cfg.train.steps = 1000
    cfg.train.eval_every = 250
    cfg.train.eval_tokens = 65_536
    cfg.train.checkpoint_every = 250
    if defaults.is_smoke(arg):
        cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.n_kv_heads = 2, 32, 2, 1
        cfg.train.steps, cfg.train.eval_tokens = 20, 4096
    return cfg
