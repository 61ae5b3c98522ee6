"""The quickstart's model: the curated crawl, the interpreter's own library, and stories of the generated world.

lm quickstart --workdir=runs/quickstart

`:smoke` runs 20 steps of a smaller model on less text.
"""

from ml_collections import ConfigDict

from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = defaults.pretrain()
    cfg.data.mixture = {
        "web": {"path": "runs/quickstart/curated", "weight": 0.4},  # the quickstart puts its own there
        "stdlib": {"path": "builtin:stdlib", "weight": 0.2},
        "world": {"path": "builtin:world?n=12000", "weight": 0.4},
    }
    cfg.data.validation = 0.02
    cfg.tokenizer.vocab_size = 1024
    cfg.model.n_layers = 4
    cfg.model.d_model = 128
    cfg.model.n_heads = 4
    cfg.model.n_kv_heads = 2
    cfg.model.max_seq_len = 256
    cfg.model.scan_layers = False  # a fifth faster on a CPU; the parameters are the same either way
    cfg.optimizer.name = "muon"
    cfg.optimizer.peak_lr = 6e-3
    cfg.train.batch_size = 8
    cfg.train.steps = 1400
    cfg.train.eval_every = 350
    cfg.train.eval_tokens = 65_536
    cfg.train.checkpoint_every = 350
    cfg.sample.prompts = ("def ", "import ", "Question:", "One day ")
    cfg.sample.max_new_tokens = 120
    if defaults.is_smoke(arg):
        cfg.data.mixture.world.path = "builtin:world?n=500"
        cfg.tokenizer.vocab_size = 512
        cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.n_kv_heads = 2, 32, 2, 1
        cfg.train.steps, cfg.train.eval_tokens, cfg.sample.max_new_tokens = 20, 4096, 20
    return cfg
