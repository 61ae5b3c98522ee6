"""From a config and shards to a `Task`: fills what is open, checks what can be checked, builds what the loop needs."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

import lm
from lm.common import hardware, manifest
from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.data import prepare
from lm.data.shards import Shards, training_examples
from lm.model import cost, pipeline
from lm.model.attention import support
from lm.model.config import ModelConfig
from lm.train import run, sizing, unverified
from lm.train.guard import Guard
from lm.train.loop import Task
from lm.train.optimizer import Optimizer
from lm.train.parametrization import width_ratio
from lm.train.schedule import BatchPlan, make_schedule
from lm.train.state import abstract_state

ASSUMED_VOCABULARY = 4096  # where the tokenizer is yet to be trained and no size was asked for


def rehearse(
    cfg: ConfigDict, workdir: Path, vocab_size: int | None
) -> tuple[ConfigDict, ModelConfig, list[sizing.Derived]]:
    """Resolves a copy of the config and builds all that needs no data, so that mistakes show before any work is done.

    `vocab_size` is the tokenizer's where there is one already.

    Raises:
        UserError: as `resolve` and `make_task`.
    """
    copy = cfg.copy_and_resolve_references()
    size = vocab_size or copy.tokenizer.vocab_size or copy.model.vocab_size or ASSUMED_VOCABULARY
    model, derived = resolve(copy, size, workdir)
    mesh, optimizer, _ = _make_parts(copy, model)
    if vocab_size or copy.tokenizer.vocab_size or copy.model.vocab_size:
        abstract_state(model, optimizer, mesh)  # does the mesh divide the parameters?
    return copy, model, derived


def resolve(cfg: ConfigDict, vocab_size: int, workdir: Path) -> tuple[ModelConfig, list[sizing.Derived]]:
    """Fills every open key of `cfg` in place; what can differ between machines is held from an earlier start.

    Raises:
        UserError: a value out of range, or values that do not fit each other.
    """
    _check_ranges(cfg)
    if cfg.model.dtype is None and (workdir / run.CONFIG).is_file():
        cfg.model.dtype = run.read_config(workdir)["model"]["dtype"]
    model, derived = sizing.resolve_model(cfg.model, vocab_size, hardware.compute_dtype())
    derived += sizing.resolve_mesh(cfg.mesh, model, jax.device_count(), hardware.device_bytes())
    rows = meshes.batch_parts(meshes.make_mesh(cfg.mesh))
    return model, derived + sizing.resolve_training(cfg, model, rows)


# (lowest, whether it is allowed itself, highest allowed) of numbers that have limits; unset keys pass.
_RANGES: dict[str, tuple[float, bool, float]] = {
    **{
        f"train.{key}": (0, False, math.inf)
        for key in (
            *("steps", "tokens", "batch_size", "tokens_per_param", "microbatches"),
            *("log_every", "keep_last", "clip_norm", "profile_length"),
        )
    },
    **{
        f"train.{key}": (0, True, math.inf)
        for key in (
            *("loss_chunk", "eval_every", "eval_tokens", "checkpoint_every", "keep_best"),
            *("z_loss", "ahead_weight"),
        )
    },
    "optimizer.peak_lr": (0, False, math.inf),
    "optimizer.epsilon": (0, False, math.inf),
    "optimizer.weight_decay": (0, True, math.inf),
    "optimizer.b1": (0, True, 0.9999999),
    "optimizer.b2": (0, True, 0.9999999),
    "optimizer.muon_momentum": (0, True, 0.9999999),
    "train.watchdog_seconds": (0, True, math.inf),
    "schedule.warmup_fraction": (0, True, 1),
    "schedule.final_fraction": (0, True, 1),
    "schedule.decay_fraction": (0, True, 1),
}


def _check_ranges(cfg: ConfigDict) -> None:
    if cfg.train.gradient_dtype not in ("float32", "bfloat16"):
        raise UserError(f"train.gradient_dtype={cfg.train.gradient_dtype}: choose float32 or bfloat16")
    if not all(isinstance(step, int) and step > 1 for step in cfg.train.profile_steps):
        raise UserError(f"train.profile_steps={cfg.train.profile_steps}: give steps from 2 on; the first one compiles")
    for key, (low, itself, high) in _RANGES.items():
        section, leaf = key.split(".")
        value = cfg[section][leaf]
        if value is not None and not (low < value <= high or (itself and value == low)):
            above = "at least" if itself else "above"
            below = "" if high == math.inf else " and at most 1" if high == 1 else " and below 1"
            raise UserError(f"{key}={value}: must be {above} {low}{below}")


def _make_parts(cfg: ConfigDict, model: ModelConfig) -> tuple[Mesh, Optimizer, BatchPlan]:
    """Builds what needs no data: mesh, optimizer with its schedule, and batch plan."""
    train = cfg.train
    mesh = meshes.make_mesh(cfg.mesh)
    support.check_hardware(model.attention_backend, jax.default_backend())
    unverified.check(cfg, jax.devices()[0])
    check_mesh(model, mesh)
    for size in {train.batch_size, train.ramp.batch_size} - {0}:
        if size % (train.microbatches * meshes.batch_parts(mesh)):
            expert = f" × mesh.expert={mesh.shape['expert']}" if mesh.shape["expert"] > 1 else ""
            raise UserError(
                f"train.batch_size={size} (at its smallest) is not a multiple of train.microbatches="
                f"{train.microbatches} × mesh.data={mesh.shape['data']} × mesh.fsdp={mesh.shape['fsdp']}{expert}; "
                "change one"
            )
    schedule = make_schedule(cfg.schedule, train.steps)
    optimizer = Optimizer.from_config(cfg.optimizer, schedule, width_ratio(cfg.model))
    return mesh, optimizer, plan(cfg)


def check_mesh(model: ModelConfig, mesh: Mesh) -> None:
    """Checks that the model can be computed where the mesh puts layers, a row's tokens and heads.

    Raises:
        UserError: the axis, and what it does not divide.
    """
    context, tensor = mesh.shape["context"], mesh.shape["tensor"]
    if context > 1:
        support.check(model.attention_backend, ["context"], model.dtype)
        if model.max_seq_len % context:
            raise UserError(f"mesh.context={context} does not divide model.max_seq_len={model.max_seq_len}")
    pipeline.check(model, mesh.shape["pipeline"])
    if tensor > 1 and any(layer.mixer == "differential" for layer in model.layers):
        pairs = model.n_kv_heads // 2
        if pairs % tensor:
            raise UserError(
                f"mesh.tensor={tensor} does not divide the {pairs} pairs that model.mixer=differential makes of "
                f"model.n_kv_heads={model.n_kv_heads}"
            )


def plan(cfg: ConfigDict) -> BatchPlan:
    """Returns the batch plan of a resolved config."""
    return BatchPlan(cfg.train.batch_size, cfg.train.ramp.batch_size, cfg.train.ramp.steps)


def make_task(cfg: ConfigDict, model: ModelConfig, shards: Shards) -> Task:
    """Builds everything the train loop needs from a resolved config.

    Raises:
        UserError: a mesh that does not fit, an unknown optimizer or schedule, a sequence longer than the corpus.
    """
    train = cfg.train
    mesh, optimizer, batch_plan = _make_parts(cfg, model)
    weights = prepare.weights(shards, cfg.data, batch_plan.total(train.steps) * model.max_seq_len)
    return Task(
        model=model,
        optimizer=optimizer,
        mesh=mesh,
        examples=training_examples(shards, "train", seq_len=model.max_seq_len, seed=train.seed, weights=weights),
        plan=batch_plan,
        steps=train.steps,
        seed=train.seed,
        microbatches=train.microbatches,
        loss_chunk=train.loss_chunk,
        z_loss=train.z_loss,
        ahead_weight=train.ahead_weight if model.predict_ahead else 0.0,
        clip_norm=train.clip_norm,
        gradient_dtype=train.gradient_dtype,
        log_every=train.log_every,
        eval_every=train.eval_every,
        checkpoint_every=train.checkpoint_every,
        guard=Guard(**train.guard),
        watchdog_seconds=train.watchdog_seconds,
        profile_steps=tuple(train.profile_steps),
        profile_length=train.profile_length,
        shares=weights,
        bytes_per_token=shards.bytes_per_token("train", weights),
    )


def facts(model: ModelConfig, derived: list[sizing.Derived], task: Task, shards: Shards) -> dict[str, Any]:
    """Returns what `run.json` holds: the data, what was derived and why, the model, epochs and the mesh."""
    examples = task.plan.total(task.steps)
    return {
        "data": manifest.fingerprint_stage(shards.directory),
        "derived": [asdict(item) for item in derived],
        **model_facts(model),
        "tokens": examples * model.max_seq_len,
        "shares": task.shares,
        "epochs": task.examples.epochs(examples),
        "mesh": dict(task.mesh.shape),
    }


def model_facts(model: ModelConfig) -> dict[str, Any]:
    """Returns the part of `run.json` that needs no data: parameters, hardware and versions."""
    return {
        "parameters": [[name, list(shape), count] for name, shape, count in cost.parameter_table(model)],
        "n_params": cost.n_params(model),
        "flops_per_token": cost.flops_per_token(model, model.max_seq_len),
        "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {"lm": lm.__version__, "jax": jax.__version__, "python": platform.python_version()},
    }
