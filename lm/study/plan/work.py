"""What a device has to do in a training step, on paper: operations, bytes of memory, bytes from other devices.

Dims: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lm.model import pipeline
from lm.model.config import Layer
from lm.model.widths import key_width, recurrent_width, value_width
from lm.study.plan.layout import Job, Layout, parameters, with_bubble
from lm.study.plan.paper import FLOAT, narrow, state

UPDATE_PASSES = 3.5  # over parameters and moments of AdamW, which are read and written, and the gradient, which is read
# Products of scores' size that a kernel computes backward for two forward: scores are made again, for both gradients.
BACKWARD = {"splash": 3.5, "splash_interpret": 3.5, "cudnn": 2.5, "xla": 2.0, "ring": 2.5}
SKIPPING = ("splash", "splash_interpret", "cudnn")  # leave out blocks of scores that a mask empties
BLOCK = 512  # tokens on the side of such a block


class Traffic(NamedTuple):
    """Bytes that a device takes in from others in a step, along a mesh axis.

    `exposed` says that what comes next waits for them; others come while something else is computed.
    """

    axis: str
    kind: str
    bytes: float
    exposed: bool


@dataclass(frozen=True)
class Work:
    """One device's part of a step.

    Attributes:
        product_flops: operations of products with weights, and what is computed of them again.
        attention_flops: of products of queries, keys and values.
        hbm_bytes: read and written in its own memory, at least.
        update_bytes: those of them with which the step ends, when nothing else is computed.
        traffic: with other devices.
    """

    product_flops: float
    attention_flops: float
    hbm_bytes: float
    update_bytes: float
    traffic: tuple[Traffic, ...]

    @property
    def flops(self) -> float:
        """All operations that matter."""
        return self.product_flops + self.attention_flops


def work(job: Job, layout: Layout) -> Work:
    """Returns what each device does in a step."""
    n = job.tokens / (layout.batch_parts * layout.context)  # tokens of a device, all micro-batches
    numbers, rounds = _weights(job, layout), with_bubble(job, layout)
    products = 2 * n * (rounds * numbers["layers"] + numbers["head"])
    update = UPDATE_PASSES / 3 * 2 * sum(state(job, layout).values())
    streams = n * job.item * _width(job, layout) * _passes(layout)
    weights = 2 * job.item * layout.microbatches * _passes(layout) * _layer_weights(job, layout)
    if layout.pipeline > 1:  # each tick reads the weights of a group anew
        weights *= rounds * pipeline.parts(job.model, layout.pipeline)
    return Work(
        products,
        n * rounds * _attention(job, layout),
        update + streams + weights,
        update,
        tuple(_traffic(job, layout, n)),
    )


def _passes(layout: Layout) -> int:
    """Returns how often a layer's products run: forward, twice backward, and again where that is not kept."""
    return 3 + (layout.remat == "block")


def _weights(job: Job, layout: Layout) -> dict[str, float]:
    """Returns the numbers of matrices that a token meets on a device, as often as it does, by where they are."""
    model = job.model
    found = {"layers": 0.0, "head": 0.0}
    for p in parameters(model):
        if not p.is_matrix:
            continue
        here = p.count / p.parts(layout, but=("fsdp", "expert"))
        if not p.in_layers:
            found["head"] += here * (3 + (job.pieces > 1))
            continue
        if "expert" in p.axes:
            here *= model.moe.top_k / p.shape[p.axes.index("expert")]
        last = p.names[-2] == "down"  # the residual stream does not need it when the layer is computed again
        found["layers"] += here * (3 + (layout.remat == "block" and not last) + _again(layout.remat, p.names[-2]))
    if model.tie_embeddings:
        found["head"] += model.vocab_size * model.d_model / layout.tensor * (3 + (job.pieces > 1))
    return found


def _again(remat: str, name: str) -> bool:
    """Says whether a product is computed again under the policies of others' published runs."""
    return name in {"units": ("gate", "up"), "inputs": ("o", "gate", "up")}.get(remat, ())


def _layer_weights(job: Job, layout: Layout) -> float:
    """Returns the numbers of the layers' matrices on a device once those along `fsdp` are put together."""
    return sum(p.count / p.parts(layout, but=("fsdp",)) for p in parameters(job.model) if p.in_layers and p.is_matrix)


def _width(job: Job, layout: Layout) -> float:
    """Returns roughly how many numbers a token's pass through the layers reads and writes: branches' ins and outs."""
    model = job.model
    units = model.d_ff if not model.moe.d_ff else model.moe.top_k * model.moe.d_ff
    heads = 2 * (model.n_heads + model.n_kv_heads) * model.head_width
    return model.n_layers / layout.pipeline * (8 * model.d_model + (4 * units + heads) / layout.tensor)


def _attention(job: Job, layout: Layout) -> float:
    """Returns the operations a token takes in products of queries, keys and values, on a device."""
    backend = job.model.attention_backend
    times = 1 + BACKWARD[backend] + (layout.remat != "none")  # no policy keeps what a kernel makes
    return times * sum(_scored(job, layer) for layer in job.model.layers) / (layout.tensor * layout.pipeline)


def _scored(job: Job, layer: Layer) -> float:
    """Returns the operations that one token takes in a layer's forward pass beyond products with weights."""
    model = job.model
    if not layer.attends:
        return 2 * recurrent_width(model, "ssm") * model.recurrent.state_width if layer.mixer == "ssm" else 0
    seen = keys_seen(model.max_seq_len, layer.window, blocks=model.attention_backend in SKIPPING)
    return 2 * model.n_heads * (key_width(model, layer) + value_width(model, layer)) * seen


def keys_seen(length: int, window: int, *, blocks: bool) -> float:
    """Returns how many keys a query is scored against, on average: all, or those of blocks that a mask leaves."""
    if not blocks:
        return length
    block = min(BLOCK, length)
    count = -(-length // block)
    back = min(count, -(-(window - 1) // block) + 1) if window else count
    return block * sum(min(row + 1, back) for row in range(count)) / count


def _traffic(job: Job, layout: Layout, n: float) -> list[Traffic]:
    """Returns what devices exchange: `n` tokens of a device, in all its micro-batches."""
    model, item = job.model, job.item
    stream = n * model.d_model * item
    layers = layout.microbatches * _layer_weights(job, layout)
    head = layout.microbatches * job.pieces * model.d_model * model.vocab_size / layout.tensor
    found: list[Traffic] = []

    def add(axis: str, kind: str, size: float, *, exposed: bool = False) -> None:
        if (devices := layout.mesh[axis]) > 1 and size:
            found.append(Traffic(axis, kind, size * (devices - 1) / devices, exposed))

    if narrow(job, layout):
        add("fsdp", "all-reduce", 2 * item * (2 * (layers + head) + layers + head))
    else:
        add("fsdp", "all-gather", 2 * item * (layers + head))  # forward and backward
        add("fsdp", "reduce-scatter", item * layers + FLOAT * head)
    add("fsdp", "all-to-all", stream + FLOAT * n * model.d_model)  # the table is split by width
    held = sum(p.count / p.parts(layout) for p in parameters(model) if p.in_layers)
    ends = sum(p.count / p.parts(layout) for p in parameters(model) if not p.in_layers)
    add("data", "all-reduce", 2 * layout.microbatches * (item * held + FLOAT * ends))
    each = model.n_layers / layout.pipeline
    again = layout.remat in ("block", "inputs")
    add("tensor", "all-reduce", 2 * stream * each * (4 + again), exposed=True)
    add("tensor", "all-reduce", 2 * stream * 2, exposed=True)  # of the table's rows, and of gradients from the head
    keys = 2 * n * model.n_kv_heads * model.head_width * item / layout.tensor
    add("context", "collective-permute", keys * each * layout.context * (3 + again), exposed=True)
    moe = sum(1 for layer in model.layers if layer.n_experts) / layout.pipeline
    add("expert", "all-gather", 2 * stream * layout.expert * moe * (1 + again / 2), exposed=True)
    add("expert", "reduce-scatter", 2 * stream * layout.expert * moe, exposed=True)
    if layout.pipeline > 1:
        moved = 2 * with_bubble(job, layout) * model.pipeline_repeats * stream  # each tick, forwards and backwards
        dealt = 2 * FLOAT * held * layout.microbatches if model.pipeline_repeats > 1 else 0.0
        found.append(Traffic("pipeline", "collective-permute", moved + dealt, exposed=True))
        add("pipeline", "all-reduce", 3 * 2 * FLOAT * n * model.d_model, exposed=True)
    return found
