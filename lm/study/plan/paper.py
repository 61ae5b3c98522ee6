"""Memory of a training step on each device, counted on paper.

What is kept between steps is exact; what the forward pass keeps for the backward pass is what its trace keeps; what
one layer, the head and the compiler need beside that are small whole numbers of arrays, found by looking at what is
alive at the peak of programs compiled for TPUs.

Dims: B batch, T time, D width, F feed-forward units, H query heads, K key/value heads, N head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lm.model.config import Layer, ModelConfig
from lm.model.mlp import MLPS
from lm.model.widths import key_width, recurrent_width, value_width
from lm.study import footprint
from lm.study.plan.layout import Job, Layout, Parameter, parameters, with_bubble

FLOAT = 4  # bytes of a parameter, a moment and a gradient
# Arrays of the model's width that are alive at the peak of a layer's backward pass, those outside the layers included:
# what entered the model, what enters the layer, what stands between its branches, and gradients.
STREAMS = 5
# Of a gated feed-forward layer: both projections, their product, and its gradient; of one without gate, one less.
UNITS = 4
HEAD_STREAMS = 4  # what the head reads, as a whole and in pieces, and gradients
LANES = 128  # of a TPU; splash keeps the softmax's normaliser of every query once for each of them


@dataclass(frozen=True)
class Memory:
    """Bytes of a device by kind, at the moment when it holds most."""

    kinds: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.kinds.values())


def memory(job: Job, layout: Layout) -> Memory:
    """Returns what a step takes of each device at its peak: in the layers, at the head, or when it ends."""
    always = {**state(job, layout), "batch": 24 * job.rows // layout.batch_parts * _length(job, layout)}
    moments = (_in_layers(job, layout), _at_head(job, layout), _at_end(job, layout))
    peak = max(moments, key=lambda moment: sum(moment.values()))
    return Memory({kind: int(size) for kind, size in {**always, **peak}.items() if size})


def state(job: Job, layout: Layout) -> dict[str, int]:
    """Returns the bytes of parameters and of the optimizer's moments."""
    held = parameters(job.model)
    second = [p for p in held if not (job.optimizer == "muon" and p.is_matrix and p.in_layers)]
    moments = _bytes(held, layout, job.moment) + _bytes(second, layout)
    return {"parameters": _bytes(held, layout), "optimizer": moments}


def _bytes(held: Iterable[Parameter], layout: Layout, item: int = FLOAT) -> int:
    return sum(item * parameter.count // parameter.parts(layout) for parameter in held)


def _length(job: Job, layout: Layout) -> int:
    return job.model.max_seq_len // layout.context


def tokens(job: Job, layout: Layout) -> int:
    """Returns how many tokens a device computes at a time."""
    return job.rows // (layout.batch_parts * layout.microbatches) * _length(job, layout)


def narrow(job: Job, layout: Layout) -> bool:
    """Says whether the rows of a matrix that a device along `fsdp` holds are no whole number of a TPU's lanes.

    Its compiler then makes no all-gather or reduce-scatter: an all-reduce takes the place of each, of twice the bytes.
    """
    return layout.fsdp > 1 and job.model.d_model % (LANES * layout.fsdp) > 0


def _stream(job: Job, layout: Layout) -> int:
    """Returns the bytes of one array of the model's width."""
    return tokens(job, layout) * job.model.d_model * job.item


def _head(job: Job) -> list[Parameter]:
    return [p for p in parameters(job.model) if p.names in (("head", "kernel"), ("head", "bias"))] or [
        p for p in parameters(job.model) if p.names == ("embed", "table")
    ]


def _layers(job: Job) -> list[Parameter]:
    return [p for p in parameters(job.model) if p.in_layers]


def _shared(job: Job, layout: Layout) -> dict[str, int]:
    """Returns what is alive from the end of the forward pass to that of the backward pass."""
    copies = _bytes(_layers(job), layout, job.item) if job.item < FLOAT else 0
    return {"saved activations": saved(job, layout), "compute copies": copies}


def saved(job: Job, layout: Layout) -> int:
    """Returns the bytes that the layers' forward pass keeps for the backward pass."""
    local = _local(job.model, layout)
    rows = job.rows // (layout.batch_parts * layout.microbatches)
    share = _length(job, layout) / job.model.max_seq_len
    return int(rows * share * _kept(local) / layout.pipeline * with_bubble(job, layout))


def _local(model: ModelConfig, layout: Layout) -> ModelConfig:
    """Returns the model that one device along `tensor` computes, as far as shapes go."""
    t = layout.tensor
    # What keeps no scores keeps what splash does, and can be traced without the hardware of others.
    whole = model.attention_backend == "xla" or any(layer.position == "alibi" for layer in model.layers)
    changes: dict[str, Any] = {
        "n_heads": model.n_heads // t,
        "n_kv_heads": max(1, model.n_kv_heads // t),
        "d_ff": model.d_ff // t,
        "moe": replace(model.moe, d_ff=model.moe.d_ff // t, shared_d_ff=model.moe.shared_d_ff // t),
        "attention_backend": "xla" if whole else "splash",
        "dtype": "float32" if model.dtype == "float32" else "bfloat16",
        "vocab_size": 64,
        "dropout": 0.0,
        "remat": layout.remat,
    }
    return replace(model, **changes)


@lru_cache(maxsize=256)
def _kept(model: ModelConfig) -> int:
    """Returns the bytes that all layers keep of a row: those of a few periods, which the loop over them stacks."""
    periods = 3
    few = replace(model, n_layers=model.n_lead + periods * model.period, scan_layers=True)

    def stacked(rows: int) -> int:
        return sum(footprint.size(a) for a in footprint.kept(few, rows, model.max_seq_len) if a.shape[:1] == (periods,))

    each = (stacked(2) - stacked(1)) / periods  # copies of the parameters in the compute dtype are there once
    return int(each * model.n_layers / model.period)


def _in_layers(job: Job, layout: Layout) -> dict[str, int]:
    """Returns what is alive while the backward pass is in a layer."""
    late = {("embed", "table"), ("embed", "positions")} - ({("embed", "table")} if job.model.tie_embeddings else set())
    gradients = _bytes((p for p in parameters(job.model) if p.names not in late), layout)
    return {
        **_shared(job, layout),
        "gradients": gradients + _summed(job, layout),
        "head": _bytes(_head(job), layout, job.item) if job.item < FLOAT else 0,
        "one layer": max(_one_layer(job, layout, layer) for layer in job.model.layers),
        "gathered weights": _gathered(job, layout),
    }


def _summed(job: Job, layout: Layout) -> int:
    """Returns the bytes of what micro-batches add up to, beside the gradients of one."""
    return _bytes(parameters(job.model), layout) if layout.microbatches > 1 else 0


def _one_layer(job: Job, layout: Layout, layer: Layer) -> int:
    """Returns the bytes that one layer's backward pass needs."""
    model, n, t = job.model, tokens(job, layout), layout.tensor
    numbers = STREAMS * n * model.d_model
    if layer.n_experts:
        chosen = n * layout.expert * model.moe.top_k
        widths = chosen * (model.moe.d_ff or model.d_ff) // t + n * model.moe.shared_d_ff // t
        numbers += UNITS * widths + 2 * chosen * model.d_model
    elif layer.mlp != "none":
        numbers += (UNITS if MLPS[layer.mlp].gated else UNITS - 1) * n * model.d_ff // t
    if not layer.attends:
        return job.item * (numbers + UNITS * n * recurrent_width(model, layer.mixer) // t)
    heads, kv_heads = model.n_heads // t, max(1, model.n_kv_heads // t)
    keys, values = key_width(model, layer), value_width(model, layer)
    numbers += n * (heads * (keys + values) + kv_heads * (keys + values))
    return job.item * numbers + _scores(job, layout, heads)


def _scores(job: Job, layout: Layout, heads: int) -> int:
    """Returns the bytes of what attention makes of scores: all of them, or their normaliser alone."""
    n, length = tokens(job, layout), job.model.max_seq_len
    if job.model.attention_backend.startswith("splash"):
        return FLOAT * n * heads * LANES
    if job.model.attention_backend == "cudnn":
        return FLOAT * n * heads
    return 2 * FLOAT * n * heads * (length // layout.context if job.model.attention_backend == "ring" else length)


def _gathered(job: Job, layout: Layout) -> int:
    """Returns the bytes of a layer's matrices that the devices along `fsdp` have put together."""
    if layout.fsdp == 1:
        return 0
    whole = sum(p.count / p.parts(layout, but=("fsdp",)) for p in _layers(job) if p.is_matrix)
    last = sum(p.count / p.parts(layout, but=("fsdp",)) for p in _layers(job) if p.names[-2] == "down")
    return int(job.item * (whole - last) * layout.pipeline / job.model.n_layers)


def _at_head(job: Job, layout: Layout) -> dict[str, int]:
    """Returns what is alive while the head's gradient is taken: logits and theirs, then the whole gradient.

    Where that is summed by an all-reduce, it is so in the dtype of computation, a copy of it beside the whole.
    """
    head = _head(job)
    whole = sum(p.count // p.parts(layout, but=("fsdp",)) for p in head) if layout.fsdp > 1 else 0
    logits = tokens(job, layout) // job.pieces * job.model.vocab_size // layout.tensor
    return {
        **_shared(job, layout),
        "gradients": _bytes(head, layout) + _summed(job, layout),
        "head": _bytes(head, layout, job.item) + whole * job.item * (1 + narrow(job, layout)),
        "logits": logits * job.item + FLOAT * max(logits, whole),
        "one layer": HEAD_STREAMS * _stream(job, layout),
    }


def _at_end(job: Job, layout: Layout) -> dict[str, int]:
    """Returns what is alive when all gradients are there, the table's last of all."""
    copies = _bytes(_layers(job), layout, job.item) if job.item < FLOAT else 0
    gradients = _bytes(parameters(job.model), layout) + _summed(job, layout)
    return {"gradients": gradients, "compute copies": copies, "one layer": STREAMS * _stream(job, layout)}
