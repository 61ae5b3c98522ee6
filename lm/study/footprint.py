"""Memory that training takes on each device: what is kept between steps exactly, what a step needs by an estimate.

Dims: B batch, T time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from lm.model import cost
from lm.model.config import ModelConfig
from lm.study.subject import Subject
from lm.train.optimizer import Optimizer
from lm.train.schedule import make_schedule
from lm.train.state import abstract_state
from lm.train.step import loss_sums


@dataclass(frozen=True)
class Footprint:
    """Bytes on each device; `activations` is an estimate, None where they are split over devices within a row.

    Or where the backend cannot be traced from here.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int | None

    @property
    def total(self) -> int:
        """All of them that are known."""
        return self.parameters + self.gradients + self.optimizer + (self.activations or 0)


def footprint(subject: Subject) -> Footprint:
    """Returns the memory that the subject's training takes.

    Raises:
        UserError: the mesh does not divide a parameter.
    """
    cfg = subject.config
    optimizer = Optimizer.from_config(cfg.optimizer, make_schedule(cfg.schedule, cfg.train.steps))
    state = abstract_state(subject.model, optimizer, subject.mesh)
    parameters = _bytes(state.params)
    kept = None
    split = subject.mesh.shape["tensor"] * subject.mesh.shape["context"]
    if subject.model.attention_backend == "xla" and split == 1:
        kept = subject.rows * activations(subject.model, subject.seq_len, cfg.train.get("loss_chunk", 0))
    return Footprint(parameters, parameters, _bytes(state.optimizer), kept)


def _bytes(tree: Any) -> int:
    """Counts the bytes that each device has of placed arrays."""
    return sum(math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize for a in jax.tree.leaves(tree))


def activations(model: ModelConfig, seq_len: int, loss_chunk: int = 0) -> int:
    """Returns the bytes that a step holds of one sequence, forward and backward, on one device.

    What the trace of the forward pass keeps for the backward pass, and beside it one layer of what is computed again
    where `remat` says so. The compiler shares and drops some of it: an estimate.
    """
    kept = _of_a_row(model, seq_len, loss_chunk)
    if model.remat == "none":
        return kept
    return kept + (_of_a_row(replace(model, remat="none"), seq_len, loss_chunk) - kept) // model.n_layers


def _of_a_row(model: ModelConfig, seq_len: int, loss_chunk: int) -> int:
    two, one = (_kept(replace(model, dropout=0.0), rows, seq_len, loss_chunk) for rows in (2, 1))
    return two - one  # copies of the parameters in the compute dtype are there once


def _kept(model: ModelConfig, rows: int, seq_len: int, loss_chunk: int) -> int:
    return sum(size(array) for array in kept(model, rows, seq_len, loss_chunk))


def kept(model: ModelConfig, rows: int, seq_len: int, loss_chunk: int = 0) -> list[Any]:
    """Returns shape and dtype of all that the trace of the forward pass keeps for the backward pass, but parameters."""
    places, flags = jax.ShapeDtypeStruct((rows, seq_len), jnp.int32), jax.ShapeDtypeStruct((rows, seq_len), jnp.float32)
    batch = {**dict.fromkeys(("tokens", "targets", "segments", "positions"), places), "loss_mask": flags}

    def backward(params: Any, batch: dict[str, Any]) -> Any:
        return jax.vjp(lambda p: loss_sums(model, p, batch, None, loss_chunk).nats, params)[1]

    trace = jax.make_jaxpr(backward)(cost.parameter_shapes(model), batch).jaxpr
    known = set(trace.invars)
    return [v.aval for v in {v for v in trace.outvars if isinstance(v, Var)} - known]


def size(array: Any) -> int:
    """Returns the bytes of an array of this shape and dtype."""
    return math.prod(array.shape) * array.dtype.itemsize
