r"""Llama 3's 70B on a large TPU slice, from your own text.

lm pretrain --config=configs/pretrain/llama3_70b.py --config.data.path=PATH_TO_TEXT --workdir=runs/llama3_70b

First, on any machine, where it fits and how long it takes (nothing of it has to be there):

    lm plan --config=configs/pretrain/llama3_70b.py --topology=v5p:8x16x16 --search

which names --config.mesh.data=16 --config.mesh.fsdp=64 --config.mesh.tensor=2 --config.model.remat=dots
--config.train.microbatches=2: 80 GB of each chip, 12.7 s a step, 68 % MFU by estimate. `:smoke` runs 20
steps of a small model on any hardware.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.tokenizer.vocab_size = 128_256
    cfg.model = defaults.preset("llama3-70b")
    cfg.model.vocab_size = 128_256
    cfg.model.dtype = "bfloat16"
    cfg.model.attention_backend = "splash"
    cfg.model.remat = "block"
    cfg.optimizer.peak_lr = 1.5e-4
    cfg.train.batch_size = 2048  # 17M tokens
    cfg.train.loss_chunk = 2048
    cfg.train.eval_every = cfg.train.checkpoint_every = 1000
    cfg.train.eval_tokens = 10_000_000
    if defaults.is_smoke(arg):
        cfg.tokenizer.vocab_size = cfg.model.vocab_size = 512
        cfg.model.update(n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, head_width=16, d_ff=192, max_seq_len=64)
        cfg.model.attention_backend = "xla"
        cfg.train.update(steps=20, batch_size=8, loss_chunk=16, eval_tokens=4096)
    return cfg
