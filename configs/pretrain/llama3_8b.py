r"""Llama 3's 8B on a TPU slice, from your own text.

lm pretrain --config=configs/pretrain/llama3_8b.py --config.data.path=PATH_TO_TEXT --workdir=runs/llama3_8b

First, on any machine, where it fits and how long it takes (nothing of it has to be there):

    lm plan --config=configs/pretrain/llama3_8b.py --topology=v5p:4x4x4 --search

which names --config.mesh.data=2 --config.mesh.fsdp=32 --config.model.remat=dots --config.train.microbatches=4: 55 GB of
each chip, 12.4 s a step, 67 % MFU by estimate. `:smoke` runs 20 steps of a small model on any hardware.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.tokenizer.vocab_size = 128_256
    cfg.model = defaults.preset("llama3-8b")
    cfg.model.vocab_size = 128_256
    cfg.model.dtype = "bfloat16"
    cfg.model.attention_backend = "splash"
    cfg.model.remat = "block"
    cfg.optimizer.peak_lr = 3e-4
    cfg.train.batch_size = 512  # 4M tokens
    cfg.train.loss_chunk = 1024
    cfg.train.eval_every = cfg.train.checkpoint_every = 1000
    cfg.train.eval_tokens = 10_000_000
    if defaults.is_smoke(arg):
        cfg.tokenizer.vocab_size = cfg.model.vocab_size = 512
        cfg.model.update(n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, head_width=16, d_ff=192, max_seq_len=64)
        cfg.model.attention_backend = "xla"
        cfg.train.update(steps=20, batch_size=8, loss_chunk=16, eval_tokens=4096)
    return cfg
