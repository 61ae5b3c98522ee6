"""Learning-rate schedules and the batch plan: pure functions of the step.

A schedule maps a step to a factor in (0, 1] on the peak learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lm.common.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def warmup_steps(warmup_fraction: float, steps: int) -> int:
    """Returns the number of warm-up steps, at least one."""
    return max(1, round(warmup_fraction * steps))


def cosine(steps: int, warmup: int, final: float) -> Schedule:
    """Rises linearly over `warmup` steps, then follows half a cosine to `final` (Loshchilov & Hutter, 2017)."""

    def factor(step: jax.Array) -> jax.Array:
        progress = jnp.clip((step - warmup) / max(1, steps - warmup), 0.0, 1.0)
        decayed = final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return jnp.where(step < warmup, (step + 1) / warmup, decayed)

    return factor


def warmup_stable_decay(steps: int, warmup: int, decay: int, final: float) -> Schedule:
    """Rises, stays at the peak, and falls linearly to `final` over the last `decay` steps (Hu et al., 2024)."""

    def factor(step: jax.Array) -> jax.Array:
        falling = 1.0 - (1.0 - final) * jnp.clip((step - (steps - decay)) / max(1, decay), 0.0, 1.0)
        return jnp.where(step < warmup, (step + 1) / warmup, falling)

    return factor


def make_schedule(cfg: Any, steps: int) -> Schedule:
    """Builds the schedule named by `schedule.name`.

    Raises:
        UserError: a name that is no schedule.
    """
    warmup = warmup_steps(cfg.warmup_fraction, steps)
    if cfg.name == "cosine":
        return cosine(steps, warmup, cfg.final_fraction)
    if cfg.name == "wsd":
        return warmup_stable_decay(steps, warmup, round(cfg.decay_fraction * steps), cfg.final_fraction)
    raise UserError(f"schedule.name={cfg.name}: choose cosine or wsd")


@dataclass(frozen=True)
class BatchPlan:
    """How many examples each step takes: doubling from `ramp_from` to `batch_size` over `ramp_steps`, then constant.

    `ramp_from` of 0 means no ramp. The example a step starts at is a pure function of the step.
    """

    batch_size: int
    ramp_from: int = 0
    ramp_steps: int = 0

    def __post_init__(self) -> None:
        if bool(self.ramp_from) != bool(self.ramp_steps) or self.ramp_from < 0 or self.ramp_steps < 0:
            raise UserError(
                f"train.ramp.batch_size={self.ramp_from} with train.ramp.steps={self.ramp_steps}: "
                "set both above 0 for a ramp, or both to 0 for none"
            )
        if self.ramp_from > self.batch_size or (
            self.ramp_from and self.ramp_from << self._doublings() != self.batch_size
        ):
            raise UserError(
                f"train.ramp.batch_size={self.ramp_from}: must be train.batch_size={self.batch_size} halved some times"
            )

    def _doublings(self) -> int:
        return (self.batch_size // self.ramp_from).bit_length() - 1 if self.ramp_from else 0

    def _stages(self) -> list[tuple[int, int]]:
        """Returns `(first step, batch size)` of each stage."""
        doublings = self._doublings()
        return [
            (round(self.ramp_steps * i / max(1, doublings)), self.batch_size >> (doublings - i))
            for i in range(doublings + 1)
        ]

    def size(self, step: int) -> int:
        """Returns the number of examples in the step's batch."""
        return next(size for first, size in reversed(self._stages()) if step >= first)

    def first_example(self, step: int) -> int:
        """Returns the number of examples consumed before the step."""
        stages = self._stages()
        ends = [first for first, _ in stages[1:]] + [step]
        return sum(size * max(0, min(step, end) - first) for (first, size), end in zip(stages, ends, strict=True))

    def total(self, steps: int) -> int:
        """Returns the number of examples in a run of `steps` steps."""
        return self.first_example(steps)
