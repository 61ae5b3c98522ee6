"""From one dial to a run: width, depth, batch, learning rate and length follow from `model.size`, each by a source.

Any key the user sets is left alone, so an explicit value always beats a derived one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lm.common.errors import UserError
from lm.model import cost
from lm.model.config import ModelConfig
from lm.train import parametrization
from lm.train.schedule import BatchPlan

WIDTH_PER_LAYER = 64
FFN_MULTIPLE = 64


@dataclass(frozen=True)
class Derived:
    """A value the user left open: its key, what it became, and why."""

    key: str
    value: Any
    source: str


def round_up(value: float, multiple: int) -> int:
    """Returns the smallest multiple of `multiple` that is at least `value`."""
    return math.ceil(value / multiple) * multiple


def resolve_model(cfg: Any, vocab_size: int, dtype: str) -> tuple[ModelConfig, list[Derived]]:
    """Fills the open keys of `config.model` in place and returns the architecture and what was derived.

    Raises:
        UserError: neither the dial nor the shape is set, a vocabulary smaller than the tokenizer's, or µP without base.
    """
    derived: list[Derived] = []

    def fill(key: str, value: Any, source: str) -> None:
        if cfg[key] is None:
            cfg[key] = value
            derived.append(Derived(f"model.{key}", value, source))

    if cfg.size is None and (cfg.n_layers is None or cfg.d_model is None):
        raise UserError("model.size: set the dial (such as 6), or both model.n_layers and model.d_model")
    fill("n_layers", cfg.size, "the dial")
    fill(
        "d_model",
        None if cfg.size is None else WIDTH_PER_LAYER * cfg.size,
        f"{WIDTH_PER_LAYER} a layer; loss depends weakly on the aspect ratio (Kaplan et al., 2020, fig. 5)",
    )
    if cfg.head_width is None:
        fill("head_width", _head_width(cfg.d_model, cfg.n_heads), "width / heads, or 64 a head (Vaswani et al., 2017)")
    fill("n_heads", max(1, cfg.d_model // cfg.head_width), "heads x head width = width (Vaswani et al., 2017)")
    fill("n_kv_heads", cfg.n_heads, "multi-head; set fewer for grouped-query attention (Ainslie et al., 2023)")
    fill("d_ff", round_up(8 / 3 * cfg.d_model, FFN_MULTIPLE), "8/3 of the width for gated units (Shazeer, 2020)")
    fill("vocab_size", vocab_size, "the tokenizer's")
    fill("dtype", dtype, "fastest on this hardware (a TPU or GPU: bfloat16, a CPU: float32)")
    for key, (value, source) in parametrization.forward_keys(cfg).items():
        cfg[key] = value
        derived.append(Derived(f"model.{key}", value, source))
    if cfg.vocab_size < vocab_size:
        raise UserError(f"model.vocab_size={cfg.vocab_size}: the tokenizer has {vocab_size}; use that or more")
    return ModelConfig.from_dict(cfg), derived


def _head_width(d_model: int, n_heads: int | None) -> int:
    if n_heads is not None:
        if d_model % n_heads:
            raise UserError(f"model.n_heads={n_heads} does not divide model.d_model={d_model}; or set model.head_width")
        return d_model // n_heads
    return next((width for width in (64, 32, 16) if d_model % width == 0), d_model)


def _steps(examples: float, train: Any) -> int:
    """Returns the number of steps whose batches hold so many examples, those of the ramp being smaller."""
    plan = BatchPlan(train.batch_size, train.ramp.batch_size, train.ramp.steps)
    ramped = plan.total(train.ramp.steps)
    return max(1, train.ramp.steps + math.ceil((examples - ramped) / train.batch_size))


STATE_BYTES = 16  # a parameter's: itself, its gradient and two moments, in float32
STATE_SHARE = 0.5  # of a device's memory that these may take; activations need the rest


def resolve_mesh(mesh: Any, model: ModelConfig, devices: int, device_bytes: int | None) -> list[Derived]:
    """Chooses a mesh where no axis of `config.mesh` is set, in place, and returns what was chosen, with the reason.

    The batch is split over all devices; parameters only as far as they must be, since gathering them takes time.
    `device_bytes` is a device's memory, None where it is not known.
    """
    if devices == 1 or any(size is not None for size in mesh.values()):
        return []
    needed = STATE_BYTES * cost.n_params(model)
    if device_bytes is None or needed <= STATE_SHARE * device_bytes:
        room = "the host's memory" if device_bytes is None else f"half of a device's {device_bytes / 1e9:.0f} GB"
        return _chosen(mesh, {"data": devices}, f"{needed / 1e9:.3g} GB of parameters and moments go into {room}")
    parts = [n for n in range(2, devices + 1) if devices % n == 0 and model.d_model % n == 0]
    enough = [n for n in parts if needed / n <= STATE_SHARE * device_bytes]
    if not enough:
        raise UserError(
            f"mesh: {needed / 1e9:.3g} GB of parameters and moments do not fit {devices} devices of "
            f"{device_bytes / 1e9:.0f} GB each; take more, or set mesh.tensor and mesh.fsdp"
        )
    reason = f"the fewest parts of {needed / 1e9:.3g} GB that go into half of a device's {device_bytes / 1e9:.0f} GB"
    return _chosen(mesh, {"fsdp": enough[0], "data": devices // enough[0]}, reason)


def _chosen(mesh: Any, sizes: dict[str, int], reason: str) -> list[Derived]:
    mesh.update(sizes)
    return [Derived(f"mesh.{axis}", size, reason) for axis, size in sizes.items()]


def resolve_training(cfg: Any, model: ModelConfig, devices: int = 1) -> list[Derived]:
    """Fills the open keys of `config.train` and `config.optimizer` in place and returns what was derived.

    `devices` is how many the rows of a batch are split over.

    The token budget is Chinchilla's; batch and learning rate follow the power laws that DeepSeek LLM fitted
    in C, the FLOPs of the whole run without the vocabulary's (Bi et al., 2024, section 3.1).
    """
    derived: list[Derived] = []
    train, seq_len = cfg.train, model.max_seq_len

    def fill(section: Any, key: str, name: str, value: Any, source: str) -> None:
        if section[key] is None:
            section[key] = value
            derived.append(Derived(f"{name}.{key}", value, source))

    if train.steps is not None and train.batch_size is not None:
        if train.tokens is not None:
            raise UserError(
                f"train.tokens={train.tokens}: train.steps={train.steps} and train.batch_size={train.batch_size} say "
                "how long the run is already; set one of them to None, or leave train.tokens unset"
            )
    else:
        fill(
            train,
            "tokens",
            "train",
            round(train.tokens_per_param * cost.n_active_params(model)),
            f"{train.tokens_per_param:g} a parameter (Hoffmann et al., 2022)",
        )
    tokens = train.tokens if train.tokens is not None else train.steps * train.batch_size * seq_len
    flops = tokens * (cost.flops_per_token(model, seq_len) - 6 * model.vocab_size * model.d_model)
    law = f"C = {flops:.2g} FLOPs outside the vocabulary (Bi et al., 2024)"
    if model.predict_ahead:
        fill(train, "ahead_weight", "train", 0.3, "for most of the run (DeepSeek-AI, 2024, section 4.2)")
    elif train.ahead_weight is not None:
        raise UserError(
            f"train.ahead_weight={train.ahead_weight}: model.predict_ahead=0 foretells nothing; leave it out"
        )
    unit = math.lcm(8, train.microbatches * devices)  # so that every device gets as many rows
    fill(
        train, "batch_size", "train", round_up(0.2920 * flops**0.3271 / seq_len, unit), f"0.2920 C^0.3271 tokens, {law}"
    )
    if cfg.model.parametrization == "mup" and cfg.optimizer.peak_lr is None:
        raise UserError("optimizer.peak_lr: not set; model.parametrization=mup needs the one found at model.base_width")
    fill(cfg.optimizer, "peak_lr", "optimizer", float(f"{0.3118 * flops**-0.1250:.3g}"), f"0.3118 C^-0.1250, {law}")
    after = ", after the ramp" if train.ramp.steps else ""
    fill(train, "steps", "train", _steps(tokens / seq_len, train), f"tokens / (batch x sequence){after}")
    return derived
