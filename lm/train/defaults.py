"""Every key of a pretraining config, with its default; unset (None) keys are derived, see `sizing`."""

from __future__ import annotations

from ml_collections import ConfigDict, config_dict

from lm.common.errors import UserError
from lm.data import prepare


def pretrain() -> ConfigDict:
    """Returns the config that files in `configs/pretrain` start from."""
    return ConfigDict(
        {
            "stage": "pretrain",
            "dry_run": False,  # check everything and say what would happen
            "data": prepare.defaults(),
            "tokenizer": prepare.tokenizer_defaults(),
            "model": model(),
            "optimizer": {
                "name": "adamw",  # or muon: AdamW beside it for embeddings, heads and norms
                "peak_lr": config_dict.placeholder(float),
                "b1": 0.9,
                "b2": 0.95,
                "epsilon": 1e-8,
                "weight_decay": 0.1,
                "muon_momentum": 0.95,
            },
            "schedule": {
                "name": "cosine",  # or wsd: warm-up, stable, decay
                "warmup_fraction": 0.02,
                "final_fraction": 0.1,
                "decay_fraction": 0.2,  # wsd only: the share of the run that decays
            },
            "train": {
                "steps": config_dict.placeholder(int),
                "tokens": config_dict.placeholder(int),
                "tokens_per_param": 20.0,
                "batch_size": config_dict.placeholder(int),  # sequences a step
                "microbatches": 1,
                "ramp": {"batch_size": 0, "steps": 0},  # start smaller and double up to batch_size over these steps
                "z_loss": 0.0,
                "clip_norm": 1.0,
                "seed": 0,  # of initialisation, data order and dropout
                "log_every": 10,
                "eval_every": 200,  # 0: at the end only
                "eval_tokens": 0,  # of the validation split at each evaluation; 0 is all
                "checkpoint_every": 200,  # 0: at the end only
                "keep_last": 2,
                "keep_best": 1,  # by val/loss, among the checkpoints of steps that were evaluated
                "restore_fallback": False,  # go back past a checkpoint that does not verify
                "tensorboard": False,
                "wandb": "",  # a Weights & Biases project
            },
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1, "context": 1, "pipeline": 1, "expert": 1},
            "sample": {"prompts": ("",), "max_new_tokens": 200, "temperature": 0.8, "top_k": 0, "top_p": 0.95},
        }
    )


def is_smoke(arg: str) -> bool:
    """Says whether a config file is asked for its smoke size, the only argument most of them take.

    Raises:
        UserError: any other argument.
    """
    if arg not in ("", "smoke"):
        raise UserError(f"config argument {arg!r}: not known; this config takes none, or :smoke")
    return arg == "smoke"


def model() -> ConfigDict:
    """Returns the `model` section; `size` is the dial from which unset shapes follow."""
    return ConfigDict(
        {
            "size": config_dict.placeholder(int),
            "n_layers": config_dict.placeholder(int),
            "n_heads": config_dict.placeholder(int),
            "n_kv_heads": config_dict.placeholder(int),
            "d_model": config_dict.placeholder(int),
            "d_ff": config_dict.placeholder(int),
            "head_width": config_dict.placeholder(int),
            "max_seq_len": 256,
            "vocab_size": config_dict.placeholder(int),
            "rope_theta": 10_000.0,
            "norm_epsilon": 1e-6,
            "tie_embeddings": True,
            "dropout": 0.0,
            "attention": "xla",
            "scan_layers": True,
            "remat": "none",  # or dots, block: what the backward pass computes again
            "dtype": config_dict.placeholder(str),  # of computation; parameters are float32
        }
    )
