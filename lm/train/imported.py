"""A run directory for parameters that were trained elsewhere: like any other, at step 0 and finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lm.common import buckets
from lm.common import config as configs
from lm.common.checkpoint import Checkpoints
from lm.model.config import ModelConfig
from lm.train import defaults, run, setup

STAGE = "import"


def write_run(
    directory: Path,
    model: ModelConfig,
    params: Any,
    *,
    bos: bool,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    origin: Mapping[str, Any],
) -> None:
    """Makes a run of a model in a directory that holds its tokenizer already.

    Args:
        directory: where to.
        model: the architecture.
        params: the parameter tree.
        bos: whether text begins with `<bos>`.
        config: of the stage that imports, for the manifest.
        inputs: fingerprints of what was imported, for the manifest.
        origin: what `run.json` is to tell of where the model is from.
    """
    with Checkpoints(buckets.checkpoints(directory), async_save=False) as checkpoints:
        checkpoints.save(0, {"params": jax.tree.map(jnp.asarray, params)}, {})
    told = {
        **setup.model_facts(model),
        "data": inputs,
        "derived": [],
        "tokens": 0,
        "shares": {},
        "epochs": {},
        "mesh": {},
    }
    run.claim(directory, configs.to_dict(_config(model, bos)), {**told, "imported": origin})
    run.finish(directory, config, inputs, {"steps": 0, "n_params": told["n_params"], "tokens": 0}, STAGE)


def _config(model: ModelConfig, bos: bool) -> ConfigDict:
    """Returns a pretraining config of the model, of no data and no steps."""
    config = defaults.pretrain()
    config.model.update(asdict(model))
    config.data.bos = bos
    config.tokenizer.vocab_size = model.vocab_size
    config.train.steps = 0
    return config
