"""Facts of the chapters on architectures and conversion: presets, and tables that a command measured.

Tables that take minutes to measure are kept in `docs/tables`, each written by the command that its caption names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import measured
from run_view import Run

from lm.model import cost, presets
from lm.study.plan import duration
from lm.study.plan.published import RUNS

SHOWN = (
    "transformer-2017", "gpt2-124m", "llama2-7b", "llama3-8b", "mistral-7b", "qwen3-8b", "gemma3-1b",
    "olmo2-7b", "phi-2", "smollm2-135m",
)  # fmt: skip
CONTEXTS = (4096, 8192)


def _presets(run: Run) -> list[list[str]]:
    rows = []
    for name in SHOWN:
        cfg = presets.get(name)
        short, long = (cost.cache_bytes(cfg, slots) for slots in CONTEXTS)
        shape = (cfg.n_layers, cfg.d_model, cfg.n_heads, (long - short) // (CONTEXTS[1] - CONTEXTS[0]))
        rows.append([name, f"{cost.n_params(cfg):,}", *(f"{value:,}" for value in shape)])
    return rows


def _published(run: Run) -> list[list[str]]:
    errors = duration.calibration("").errors
    return [
        [each.name, each.topology, f"{each.seconds:.2f} s", f"{each.seconds * (1 + errors[each.name]):.2f} s",
         f"{100 * errors[each.name]:+.0f} %"]
        for each in RUNS
    ]  # fmt: skip


FACTS: dict[str, Callable[[Run], list[list[str]]]] = {
    "attention.backends": partial(measured.rows, "attention"),
    "hf.parity": partial(measured.rows, "hf_parity"),
    "hf.teeth": partial(measured.rows, "hf_teeth"),
    "plan.published": _published,
    "plan.slices": partial(measured.rows, "plan"),
    "presets": _presets,
}
