"""Where everything lies: the shard of every array that a device holds, read off the devices and the compiled program.

Dims: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax

from lm.common import manifest
from lm.common.integrity import named_leaves
from lm.model.config import ModelConfig
from lm.model.decoder import Decoder
from lm.train.state import TrainState

NAME = "sharding.json"


def of_state(state: TrainState) -> dict[str, Any]:
    """Returns, by name, each array's whole shape, the shape of a device's shard as it is there, and how it is split."""
    return {name: _found(leaf) for name, leaf in named_leaves(state).items()}


def of_activations(model: ModelConfig, params: Any, batch: dict[str, jax.Array]) -> dict[str, Any]:
    """Returns the same of what crosses a boundary of the model, as the compiler laid it out for this batch.

    Compiled and not run: the embedding's output is the stream that enters the layers, `hidden` what leaves them.
    """

    def boundaries(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        decoder = partial(Decoder(model).apply, {"params": params})
        hidden = decoder(batch["tokens"], batch["segments"], batch["positions"], method="hidden")
        entering = decoder(batch["tokens"], batch["positions"], method="enter")
        return {"entering": entering, "hidden": hidden.h_BTD, "logits": decoder(hidden.h_BTD, method="unembed")}

    lowered = jax.jit(boundaries).lower(params, batch)
    shapes, where = jax.eval_shape(boundaries, params, batch), lowered.compile().output_shardings
    found = {
        name: {
            "shape": list(shapes[name].shape),
            "shard": list(where[name].shard_shape(shapes[name].shape)),
            "split": _split(where[name]),
        }
        for name in shapes
    }
    return {**{name: _found(array) for name, array in batch.items()}, **found}


def write(path: Path, mesh: jax.sharding.Mesh, state: dict[str, Any], activations: dict[str, Any]) -> None:
    """Writes `sharding.json`."""
    found = {"mesh": dict(mesh.shape), "state": state, "activations": activations}
    manifest.write_atomic(path, json.dumps(found, indent=1) + "\n")


def _found(array: jax.Array) -> dict[str, Any]:
    """Describes an array by the first shard of this process's devices, whose data are on the device."""
    shard = array.addressable_shards[0].data
    return {"shape": list(array.shape), "shard": list(shard.shape), "split": _split(array.sharding)}


def _split(sharding: Any) -> list[list[str]]:
    """Returns over which mesh axes each dimension is split; nothing where the sharding names none."""
    spec = getattr(sharding, "spec", ())
    return [[entry] if isinstance(entry, str) else list(entry or ()) for entry in spec]
