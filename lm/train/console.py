"""What a person watching a run sees: one line a logged step, rewritten in place on a terminal."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from lm.common.progress import duration, quantity

_PLAIN_EVERY_SECONDS = 5.0


class Console:
    """Prints step lines and notes to standard error."""

    def __init__(self, steps: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._steps, self._stream = steps, io.StringIO() if quiet else stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._last_line = 0.0
        self._open_line = False

    def step(self, step: int, values: Mapping[str, float], seconds_left: float | None) -> None:
        """Shows a logged step; off a terminal at most one line every few seconds, first and last always.

        `seconds_left` is None where it cannot be told yet.
        """
        now = time.monotonic()
        if not self._terminal and now - self._last_line < _PLAIN_EVERY_SECONDS and step not in (1, self._steps):
            return
        self._last_line = now
        bits = values["train/bits_per_byte"]
        line = (
            f"step {step:>{len(str(self._steps))}}/{self._steps}  loss {values['train/loss']:.4f}  "
            f"{'' if math.isnan(bits) else f'{bits:.3f} bits/byte  '}lr {values['train/learning_rate']:.2e}  "
            f"{quantity(values['tokens_per_second'])} tokens/s  MFU {100 * values['mfu']:.0f} %"
            f"{'' if seconds_left is None else f'  ETA {duration(seconds_left)}'}"
        )
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._open_line = self._terminal
        self._stream.flush()

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the figures of an evaluation on a line of their own, those of single sources left out."""
        whole = {name: value for name, value in values.items() if name.count("/") == 1}
        figures = "  ".join(f"{name} {value:.4f}" for name, value in whole.items() if not math.isnan(value))
        self.note(f"step {step:>{len(str(self._steps))}}/{self._steps}  {figures}")

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._stream.write(("\n" if self._open_line else "") + text + "\n")
        self._open_line = False
        self._stream.flush()
