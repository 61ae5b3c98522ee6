"""What to do about a loss that is not finite, or jumps: stop, leave the update out, or go back and go around it.

PaLM went back about a hundred steps before each spike and left out the data around it (Chowdhery et al., 2022).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lm.common.errors import UserError

ACTIONS = ("stop", "skip", "rollback")


class DivergedError(Exception):
    """A step's loss or gradient is not to be trusted; `step` is its number, `why` a phrase."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(f"step {step}: {why}")
        self.step, self.why = step, why


@dataclass
class Guard:
    """Looks at each step's loss in turn; a copy (`dataclasses.replace`) has seen none.

    Attributes:
        action: what is done about what is found.
        spike: by how many standard deviations of the last `window` losses one may lie above their mean; 0: any.
        window: how many losses those are; nothing is a spike before there are so many.
        limit: how often a run may go back, or updates may be left out in a row.
    """

    action: str = "stop"
    spike: float = 0.0
    window: int = 100
    limit: int = 3
    _losses: deque[float] = field(default_factory=deque, init=False)
    _skipped: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise UserError(f"train.guard.action={self.action}: choose one of {', '.join(ACTIONS)}")
        if self.spike < 0 or self.window < 2 or self.limit < 1:
            raise UserError(
                f"train.guard.spike={self.spike}, train.guard.window={self.window}, train.guard.limit={self.limit}: "
                "must be at least 0, 2 and 1"
            )
        if self.spike and self.action == "skip":
            raise UserError(
                f"train.guard.spike={self.spike}: train.guard.action=skip leaves out what is not finite, and a jump "
                "is seen too late for that; use rollback"
            )

    def look(self, step: int, loss: float, norm: float) -> bool:
        """Says whether the step's update was left out.

        Raises:
            DivergedError: the run cannot go on from here.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._skipped += 1
            if self.action == "skip" and self._skipped <= self.limit:
                return True
            raise DivergedError(step, f"loss {loss}, gradient norm {norm}")
        self._skipped = 0
        full = len(self._losses) == self.window
        if self.spike and full:
            mean, deviation = float(np.mean(self._losses)), float(np.std(self._losses))
            if loss > mean + self.spike * deviation:
                raise DivergedError(step, f"loss {loss:.4f}, after {mean:.4f} ± {deviation:.4f}")
        if full:
            self._losses.popleft()
        self._losses.append(loss)
        return False


def behind(index: int, skipped: Sequence[tuple[int, int]]) -> int:
    """Returns which example stands where the plan has `index`, given the runs (first, count) that were left out."""
    for first, count in skipped:
        if index >= first:
            index += count
    return index
