r"""A model of 0.7G parameters on one graphics card of 24 GB, such as an RTX 3090 or 4090.

lm pretrain --config=configs/pretrain/gpu_24gb.py --config.data.path=PATH_TO_TEXT --workdir=runs/gpu

First, what it takes of the card, and how long, on any machine:

    lm plan --config=configs/pretrain/gpu_24gb.py --topology=rtx4090

about 17 GB, and 29 s a step of half a million tokens on an RTX 4090, by estimate. `:smoke` runs 20
steps of a small model on any hardware.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.tokenizer.vocab_size = 32_768
    cfg.model.update(n_layers=24, d_model=1536, n_heads=12, n_kv_heads=4, head_width=128, d_ff=4096, max_seq_len=2048)
    cfg.model.vocab_size = 32_768
    cfg.model.dtype = "bfloat16"
    cfg.model.attention_backend = "cudnn"
    cfg.model.remat = "block"
    cfg.optimizer.peak_lr = 6e-4
    cfg.train.batch_size = 256  # half a million tokens
    cfg.train.microbatches = 32
    cfg.train.loss_chunk = 512
    cfg.train.eval_tokens = 1_000_000
    cfg.train.eval_every = cfg.train.checkpoint_every = 500
    if defaults.is_smoke(arg):
        cfg.tokenizer.vocab_size = cfg.model.vocab_size = 512
        cfg.model.update(n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, head_width=16, d_ff=192, max_seq_len=64)
        cfg.model.attention_backend = "xla"
        cfg.train.update(steps=20, batch_size=8, microbatches=2, loss_chunk=16, eval_tokens=4096)
    return cfg
