r"""Tiny Shakespeare, character by character, on a laptop's CPU.

lm pretrain --config=configs/pretrain/shakespeare_char.py --config.data.path=tinyshakespeare.txt \
    --workdir=runs/shakespeare

`:smoke` runs 20 steps of a smaller model.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.data.validation = 0.1
    cfg.data.bos = cfg.data.eos = False  # one text without end: nothing to mark
    cfg.tokenizer.kind = "char"
    cfg.tokenizer.byte_fallback = False  # the 65 characters of the text, as others count them
    cfg.tokenizer.reserved = 0
    cfg.model.n_layers = 4
    cfg.model.d_model = 128
    cfg.model.n_heads = 4
    cfg.model.max_seq_len = 128
    cfg.model.scan_layers = False  # a fifth faster on a CPU; the parameters are the same either way
    cfg.optimizer.name = "muon"
    cfg.optimizer.peak_lr = 8e-3
    cfg.train.batch_size = 8
    cfg.train.steps = 1500
    cfg.train.eval_every = 500
    cfg.train.checkpoint_every = 500
    cfg.sample.prompts = ("ROMEO:",)
    if defaults.is_smoke(arg):
        cfg.model.n_layers, cfg.model.d_model, cfg.train.steps = 2, 32, 20
    return cfg
