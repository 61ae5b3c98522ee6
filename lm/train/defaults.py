"""Every key of a pretraining config, with its default; unset (None) keys are derived, see `sizing`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ml_collections import ConfigDict, config_dict

from lm.common.errors import UserError
from lm.data import prepare
from lm.model import presets


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
                "peak_lr": config_dict.placeholder(float),  # the highest learning rate; unset: by compute
                "b1": 0.9,  # AdamW: decay of the gradients' running mean
                "b2": 0.95,  # AdamW: decay of their squares' running mean
                "epsilon": 1e-8,  # AdamW: added to the root of the latter
                "weight_decay": 0.1,  # of matrices; times the learning rate
                "muon_momentum": 0.95,  # muon: decay of the momentum
                "moment_dtype": "float32",  # of the first moment; bfloat16 saves two bytes a parameter
                "offload": False,  # keep both moments in the host's memory while gradients are computed
            },
            "schedule": {
                "name": "cosine",  # or wsd: warm-up, stable, decay
                "warmup_fraction": 0.02,  # share of the run that warms up
                "final_fraction": 0.1,  # the learning rate at the end, as a share of the highest
                "decay_fraction": 0.2,  # wsd only: the share of the run that decays
            },
            "train": {
                "steps": config_dict.placeholder(int),  # unset: tokens over those of a batch
                "tokens": config_dict.placeholder(int),  # to train on; unset: by tokens_per_param
                "tokens_per_param": 20.0,  # where neither steps nor tokens say how long the run is
                "batch_size": config_dict.placeholder(int),  # sequences a step; unset: by compute
                "microbatches": 1,  # parts of a batch, one after another, to save memory
                "loss_chunk": 0,  # places of a sequence whose logits are in memory at once; 0: all
                "ramp": {
                    "batch_size": 0,  # start with so many sequences a step, doubling up to train.batch_size; 0: no ramp
                    "steps": 0,  # over so many steps
                },
                "z_loss": 0.0,  # weight of log² of the softmax's normaliser, added to the loss
                "ahead_weight": config_dict.placeholder(float),  # of the loss of what is foretold; unset: 0.3
                "gradient_dtype": "float32",  # of matrices' gradients on their way between devices; or bfloat16
                "clip_norm": 1.0,  # gradients longer than this are cut to it
                "seed": 0,  # of initialisation, data order and dropout
                "log_every": 10,  # steps between logged ones
                "eval_every": 200,  # steps between evaluations; 0: at the end only
                "eval_tokens": 0,  # of the validation split at each evaluation; 0 is all
                "checkpoint_every": 200,  # steps between checkpoints; 0: at the end only
                "keep_last": 2,  # checkpoints: the newest
                "keep_best": 1,  # and the best by val/loss, among those of steps that were evaluated
                "restore_fallback": False,  # go back past a checkpoint that does not verify
                "guard": {
                    "action": "stop",  # at a loss that is not finite, or jumps; or skip: no update; or rollback
                    "spike": 0.0,  # rollback, stop: standard deviations above the mean that are a jump; 0: none is
                    "window": 100,  # of so many losses before
                    "limit": 3,  # how often to go back, or how many updates to leave out in a row
                },
                "watchdog_seconds": 0.0,  # without a step after which a process ends as hung; 0: waits for ever
                "compilation_cache": "",  # directory or bucket of compiled steps, for later starts; "": compile anew
                "profile_steps": (),  # trace the steps from each of these on; and when a file RUN/profile appears
                "profile_length": 3,  # so many steps
                "allow_unverified": False,  # use what this hardware has no units for, at the price of speed
                "tensorboard": False,  # write event files beside the metrics
                "wandb": "",  # a Weights & Biases project to log to as well
            },
            "mesh": {  # unset: by the model and the machine, if all are; else 1, and data the devices that are left
                "data": config_dict.placeholder(int),  # devices that split the batch; -1: all that are left
                "fsdp": config_dict.placeholder(int),  # that split the batch and each hold a part of the parameters
                "tensor": config_dict.placeholder(int),  # that split heads, feed-forward units and vocabulary
                "context": config_dict.placeholder(int),  # that split a row's time; model.attention_backend=ring
                "pipeline": config_dict.placeholder(int),  # that hold a run of layers each; divides model.n_layers
                "expert": config_dict.placeholder(int),  # that split the batch and each hold some of the experts
            },
            "cluster": {
                "coordinator": "",  # HOST:PORT of process 0, where no launcher tells processes of each other
                "processes": config_dict.placeholder(int),  # how many there are; 1: no other, whatever the machine says
                "process": config_dict.placeholder(int),  # which one this is, from 0
                "timeout_seconds": 300,  # to wait for the others when starting
                "heartbeat_seconds": 100,  # after which one that is not heard of counts as lost, and all stop
            },
            "sample": {
                "prompts": ("",),  # continued when training ends; "" begins at a <bos>
                "max_new_tokens": 200,  # of each continuation
                "temperature": 0.8,  # 0 always takes the likeliest token
                "top_k": 0,  # draw from so many likeliest tokens; 0: from all
                "top_p": 0.95,  # draw from the likeliest tokens that together have this probability
            },
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
    """Returns the `model` section; `size` is the dial from which unset shapes follow.

    Keys said to be per layer take one value, or a tuple that repeats over the layers.
    """
    return ConfigDict(
        {
            "size": config_dict.placeholder(int),  # the dial: layers, from which all unset shapes follow
            "n_layers": config_dict.placeholder(int),  # unset: the dial
            "n_heads": config_dict.placeholder(int),  # unset: d_model over head_width
            "n_kv_heads": config_dict.placeholder(int),  # heads of keys and values; unset: n_heads
            "d_model": config_dict.placeholder(int),  # width; unset: 64 a layer
            "d_ff": config_dict.placeholder(int),  # feed-forward units; unset: 8/3 of d_model
            "head_width": config_dict.placeholder(int),  # unset: d_model over n_heads, or 64
            "parametrization": "standard",  # or mup: a learning rate found at base_width holds for any width
            "base_width": 0,  # mup: the d_model that the learning rate was found at
            "base_head_width": 0,  # mup: and its head_width, where that grows with d_model; 0: where it does not
            "max_seq_len": 256,  # tokens in a sequence
            "vocab_size": config_dict.placeholder(int),  # unset: the tokenizer's
            "mixer": per_layer("attention"),  # or differential, latent (DeepSeek's), gru, lstm, linear, ssm; per layer
            "mlp": per_layer("swiglu"),  # or swiglu_clamped, ge(g)lu(_tanh), reglu, relu(2), silu, none; per layer
            "mlp_bias": False,  # biases in the feed-forward layers
            "moe": {
                "n_experts": per_layer(0),  # in place of the MLP; 0: the MLP; per layer
                "top_k": 2,  # experts that each token goes to
                "d_ff": 0,  # units of an expert; 0: as model.d_ff
                "shared_d_ff": 0,  # units of an expert that every token goes to; 0: none
                "shared_gate": False,  # a sigmoid on what that one writes
                "first_dense": 0,  # layers at the bottom that keep the MLP
                "score": "softmax",  # of experts, from the router's logits; or sigmoid
                "normalise": True,  # weights of a token's experts add up to 1
                "weight_scale": 1.0,  # and are multiplied by this
                "n_groups": 1,  # of experts next to each other
                "top_groups": 1,  # groups that a token's experts may come from
                "group_score": "max",  # of a group: its best expert's score; or top2, the sum of its best two
                "router_bias": False,  # a bias on the router's logits
                "capacity_factor": 0.0,  # tokens of a row that an expert takes, over an even share; 0: all that come
                "balance": "loss",  # keeps loads even: by a loss, by a bias on the choice (bias), or not at all (none)
                "balance_weight": 0.01,  # loss: its weight
                "balance_rate": 0.001,  # bias: what it moves by in a step
                "z_weight": 0.0,  # weight of log² of the router's normaliser
            },
            "norm": "rms",  # or layer, tanh (dynamic tanh), none
            "norm_scale": "weight",  # or one_plus: what is stored is added to 1; or none
            "norm_bias": False,  # layer and tanh only
            "norm_epsilon": 1e-6,  # added to the mean square under the norm's root
            "norm_placement": "pre",  # what a branch reads; or post (the sum), output (what it writes), sandwich (both)
            "final_norm": True,  # a norm before the head
            "residual": "sequential",  # or side by side: parallel (a norm each), parallel_shared (one norm)
            "residual_scale": 1.0,  # what a branch adds is multiplied by this
            "hyper_streams": 1,  # parallel residual streams, mixed by learned weights; 1: the ordinary residual
            "hyper_dynamic": False,  # those weights also follow from what the streams hold
            "value_residual": False,  # blend the first layer's values into every layer's
            "window": per_layer(0),  # positions a query sees back, its own included; 0: all; per layer
            "recurrent": {
                "width": 0,  # of gru, lstm, linear (Griffin's) and ssm (Mamba's); 0: d_model, or twice that for ssm
                "conv_width": 4,  # linear, ssm: tokens of the convolution before the recurrence
                "blocks": 0,  # linear: of its gates' matrices, which are block-diagonal; 0: n_heads
                "state_width": 16,  # ssm: numbers that each channel keeps
                "step_rank": 0,  # ssm: of the map from a token to how long a step it is; 0: a sixteenth of d_model
                "bias": False,  # of the maps into and out of the recurrence; gru and lstm have those of their cells
            },
            "latent": {
                "q_rank": 0,  # width from which latent attention unfolds queries; 0: queries straight from the input
                "kv_rank": 0,  # and keys and values: what is kept of a token, beside
                "rope_width": 0,  # the key that all heads share, which is rotated; head_width is the part that is not
                "value_width": 0,  # of a head; 0: head_width
                "norm_epsilon": 0.0,  # of the norms of what is unfolded; 0: model.norm_epsilon
            },
            "qkv_bias": False,  # biases of queries, keys and values; latent: of the maps that compress
            "qkv_clip": 0.0,  # queries, keys and values are kept within this of 0; 0: as they are
            "o_bias": False,  # bias of attention's output
            "qk_norm": "none",  # RMSNorm of queries and keys: head (each head) or full (all heads at once)
            "attention_scale": 0.0,  # of scores; 0: one over the root of head_width; µP may set it
            "attention_softcap": 0.0,  # bound of scores, by tanh; 0: none
            "attention_sinks": False,  # a learned score for each head that brings no value
            "attention_gate": "none",  # a sigmoid on what attention writes: head, or element
            "position": per_layer("rope"),  # or alibi, none; per layer
            "position_embedding": "none",  # added to the token's: learned, or sinusoidal
            "rope": {
                "theta": per_layer(10_000.0),  # base of the rotary positions' wavelengths; per layer
                "fraction": 1.0,  # share of a head that is rotated
                "scaling": "none",  # stretch to longer contexts: linear, ntk, llama3, yarn
                "factor": per_layer(1.0),  # by how much; per layer
                "original_len": 0,  # llama3, yarn: the context before it was stretched
                "low_frequency_factor": 1.0,  # llama3: pairs with fewer turns in that context are divided
                "high_frequency_factor": 4.0,  # llama3: pairs with more turns are left alone
                "beta_fast": 32.0,  # yarn: pairs with more turns are left alone
                "beta_slow": 1.0,  # yarn: pairs with fewer are divided
                "attention_factor": 0.0,  # yarn: magnitude of the rotation; 0: 0.1 ln(factor) + 1
                "truncate": True,  # yarn: round the borders to whole pairs
            },
            "embedding_scale": 1.0,  # the token's vector is multiplied by this
            "tie_embeddings": True,  # one table for input and output
            "head_bias": False,  # a bias on the logits, where the head is its own
            "logit_scale": 1.0,  # logits are multiplied by this; µP sets it
            "logit_softcap": 0.0,  # and then bound, by tanh; 0: none
            "predict_ahead": 0,  # tokens after the next one that are foretold in training too, by a block each
            "dropout": 0.0,  # share of activations left out in training
            "attention_backend": "xla",  # or ring (mesh.context), splash (TPU), splash_interpret, cudnn (NVIDIA)
            "pipeline_microbatches": 0,  # parts of a batch that go round mesh.pipeline; 0: as many as it has stages
            "pipeline_repeats": 1,  # times they go round: each stage has so many groups of layers, and waits less
            "scan_layers": True,  # compile one period of layers and loop over it, else all; the parameters are the same
            "remat": "none",  # or dots, block: what the backward pass computes again
            "dtype": config_dict.placeholder(str),  # of computation; parameters are float32; unset: by hardware
            "quantize": "none",  # or int8, fp8: the layers' products in training, gradients' too, in eight bits
        }
    )


def preset(name: str) -> ConfigDict:
    """Returns the `model` section of a published architecture, its vocabulary left to the tokenizer.

    Raises:
        UserError: no preset of that name.
    """
    section = model()
    section.update(asdict(presets.get(name)))
    section.vocab_size = section.dtype = None
    return section


def per_layer(value: Any) -> config_dict.FieldReference:
    """Returns a key that takes one value, or a tuple of them; `ModelConfig` checks which."""
    return config_dict.FieldReference(value, field_type=object)
