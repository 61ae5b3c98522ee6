"""Runs whose makers say how they were laid out and how fast they were: what the model of time is measured against.

All are MaxText's, on one slice. Its models of round sizes are widths doubled in turn, starting from 2048 (its
`get_individual_scales`); v6e's figures are the logs of Google's TPU recipes, the others the tables beside the scripts
in MaxText's `configs`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from lm.model import cost, presets
from lm.model.config import ModelConfig
from lm.study.plan.chips import parse
from lm.study.plan.layout import Job, Layout


@dataclass(frozen=True, eq=False)
class Published:
    """One run.

    Attributes:
        name: what was trained, on what.
        topology: the slice.
        job: what a step computes. Remat `units` keeps all but the feed-forward layer's units, `inputs` no more than
            what enters a layer and what its heads read.
        layout: how.
        mfu: the share of the chips' peak that the model's own operations took.
    """

    name: str
    topology: str
    job: Job
    layout: Layout
    mfu: float

    @cached_property
    def seconds(self) -> float:
        """How long a step took."""
        flops = self.job.tokens * cost.flops_per_token(self.job.model, self.job.model.max_seq_len)
        return flops / (parse(self.topology).chips * parse(self.topology).chip.flops * self.mfu)


def _llama(name: str, seq_len: int) -> ModelConfig:
    return replace(presets.get(name), max_seq_len=seq_len, dtype="bfloat16", attention_backend="splash")


def _round(width: int, heads: int, units: int, layers: int) -> ModelConfig:
    """Returns one of MaxText's models of a round size: SwiGLU, multi-head, a head of its own."""
    base = _llama("llama2-7b", 2048)
    return replace(base, d_model=width, n_heads=heads, n_kv_heads=heads, head_width=128, d_ff=units, n_layers=layers)


def _run(
    name: str, topology: str, model: ModelConfig, rows: int, remat: str, *, mfu: float, tensor: int = 1
) -> Published:
    """Returns a run of `rows` sequences a chip, sharded over all chips that `tensor` leaves."""
    chips = parse(topology).chips
    return Published(
        name, topology, Job(model, rows * chips), Layout(fsdp=chips // tensor, tensor=tensor, remat=remat), mfu
    )


B16, B32 = _round(4096, 64, 28_672, 32), _round(8192, 64, 28_672, 32)
B64, B128 = _round(8192, 64, 28_672, 64), _round(8192, 128, 57_344, 64)
RUNS = (
    _run("32B on v5p", "v5p:4x4x4", B32, 7, "dots", mfu=0.7147, tensor=4),
    _run("64B on v5p", "v5p:4x4x4", B64, 3, "dots", mfu=0.7031, tensor=4),
    _run("128B on v5p", "v5p:4x4x8", B128, 1, "dots", mfu=0.6868, tensor=8),
    _run("Llama-2-70B on v5p", "v5p:4x8x8", _llama("llama2-70b", 4096), 4, "units", mfu=0.654),
    _run("16B on v5e", "v5e:16x16", B16, 6, "block", mfu=0.6110),
    _run("32B on v5e", "v5e:16x16", B32, 4, "block", mfu=0.6686),
    _run("64B on v5e", "v5e:16x16", B64, 2, "block", mfu=0.5990),
    _run("Llama-3.1-8B on v6e", "v6e:16x16", _llama("llama3.1-8b", 8192), 4, "units", mfu=0.455),
    _run("Llama-3.1-70B on v6e", "v6e:16x16", _llama("llama3.1-70b", 8192), 5, "inputs", mfu=0.503),
    _run(
        "Llama-2-7B on H100",
        "h100:8",
        replace(_llama("llama2-7b", 4096), attention_backend="cudnn"),
        4,
        "none",
        mfu=0.497,
    ),
    _run("Llama-2-70B on v6e", "v6e:16x16", _llama("llama2-70b", 4096), 3, "inputs", mfu=0.438),
)
