"""What is to be trained, how it is laid out over devices, and what that leaves each of them.

Dims: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model import cost, pipeline
from lm.model.config import ModelConfig
from lm.model.roles import axes_of, role_of

BATCH_AXES = meshes.RULES["batch"]
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Job:
    """What a step computes, wherever.

    Attributes:
        model: the architecture; its `remat` is what a layout says.
        rows: sequences in a batch.
        optimizer: its name.
        loss_chunk: places of a row whose logits are made at a time; 0 for all.
        moment: bytes of a number of the optimizer's first moment.
    """

    model: ModelConfig
    rows: int
    optimizer: str = "adamw"
    loss_chunk: int = 0
    moment: int = 4

    @property
    def tokens(self) -> int:
        """Tokens in a batch."""
        return self.rows * self.model.max_seq_len

    @property
    def item(self) -> int:
        """Bytes of a number where it is computed with."""
        return ITEM_BYTES[self.model.dtype]

    @property
    def pieces(self) -> int:
        """How many times the head runs, one piece of every row after another."""
        length = self.model.max_seq_len
        return -(-length // self.loss_chunk) if 0 < self.loss_chunk < length else 1


@dataclass(frozen=True)
class Layout:
    """Sizes of the mesh, what is computed again, and into how many parts a batch is cut, one after another."""

    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    context: int = 1
    pipeline: int = 1
    expert: int = 1
    remat: str = "none"
    microbatches: int = 1

    @property
    def mesh(self) -> dict[str, int]:
        """The mesh's axes in order."""
        return {axis: getattr(self, axis) for axis in meshes.AXES}

    @property
    def devices(self) -> int:
        """How many devices it takes."""
        return math.prod(self.mesh.values())

    @property
    def batch_parts(self) -> int:
        """Over how many devices a batch is split."""
        return math.prod(self.mesh[axis] for axis in BATCH_AXES)

    def __str__(self) -> str:
        sizes = " × ".join(f"{axis} {size}" for axis, size in self.mesh.items() if size > 1) or "one device"
        parts = f", {self.microbatches} micro-batches" if self.microbatches > 1 else ""
        return f"{sizes}, remat {self.remat}{parts}"


@dataclass(frozen=True)
class Parameter:
    """One tensor of the model, all layers of a stack together."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def in_layers(self) -> bool:
        """Whether it belongs to a layer, rather than to the table or the head."""
        return self.names[0] == "layers"

    @property
    def is_matrix(self) -> bool:
        """Whether every token that meets it is multiplied by it: all but vectors and the table."""
        return self.names == ("head", "kernel") or role_of(self.names).group == "matrix"

    def parts(self, layout: Layout, *, but: tuple[str, ...] = ()) -> int:
        """Returns over how many devices it is split, those along the mesh axes `but` left out."""
        mesh = layout.mesh
        return math.prod(mesh[name] for axis in self.axes for name in meshes.RULES[axis] if name not in but)

    def misfit(self, layout: Layout) -> str:
        """Says which mesh axes do not divide it, or ""."""
        for size, axis in zip(self.shape, self.axes, strict=True):
            names = meshes.RULES[axis]
            if size % math.prod(layout.mesh[name] for name in names):
                over = " × ".join(f"mesh.{name}={layout.mesh[name]}" for name in names)
                return f"{over} does not divide the {axis} dimension {size} of {'/'.join(self.names)}"
        return ""


def parameters(model: ModelConfig) -> tuple[Parameter, ...]:
    """Returns every parameter of a model."""
    return _parameters(replace(model, attention_backend="xla", remat="none", dtype="float32"))


@lru_cache(maxsize=8)
def _parameters(model: ModelConfig) -> tuple[Parameter, ...]:
    table = [(tuple(path.split("/")), shape) for path, shape, _ in cost.parameter_table(model)]
    return tuple(Parameter(names, shape, axes_of(names, len(shape))) for names, shape in table)


def misfit(job: Job, layout: Layout) -> str:
    """Says why a layout cannot be had at all, or ""."""
    share = layout.microbatches * layout.batch_parts
    if job.rows % share:
        return f"{job.rows} rows are not a multiple of {layout.microbatches} micro-batches × {layout.batch_parts} parts"
    if layout.context > 1 and (job.model.attention_backend != "ring" or job.model.max_seq_len % layout.context):
        return f"mesh.context={layout.context} needs model.attention_backend=ring, and a row that it divides"
    try:
        pipeline.check(job.model, layout.pipeline)
    except UserError as error:
        return str(error)
    return next((found for each in parameters(job.model) if (found := each.misfit(layout))), "")


def with_bubble(job: Job, layout: Layout) -> float:
    """Returns how often a stage computes for each time that is of use: it does so in the pipeline's bubble too."""
    microbatches = pipeline.parts(job.model, layout.pipeline)
    return 1 / (1 - pipeline.bubble(layout.pipeline, microbatches, job.model.pipeline_repeats))


def of_config(config: Any, model: ModelConfig, mesh: dict[str, int]) -> tuple[Job, Layout]:
    """Returns what a resolved pretraining config trains on a mesh, and how."""
    train = config.train
    sizes = {field.name: mesh[field.name] for field in fields(Layout) if field.name in mesh}
    moment = ITEM_BYTES[config.optimizer.moment_dtype]
    job = Job(model, train.batch_size, config.optimizer.name, train.loss_chunk, moment)
    return job, Layout(**sizes, remat=model.remat, microbatches=train.microbatches)
