"""What sets two runs, configs or presets apart: keys, parameters, costs, data and results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lm.common import buckets
from lm.common import config as configs
from lm.common.checkpoint import Checkpoints
from lm.common.columns import columns
from lm.common.progress import quantity, size
from lm.convert import flat
from lm.convert.hf import fitting
from lm.model import cost
from lm.study import record
from lm.study.inspect import numbers
from lm.study.subject import Subject
from lm.train import run as runs

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Change:
    """How far one tensor is from another of its name: the norm of the difference over the norm of the first."""

    name: str
    relative: float


@dataclass(frozen=True)
class Difference:
    """Everything that `lm diff` says; of what is on one side only the other has None.

    Attributes:
        same_architecture: whether both compute the same function of parameters of the same shapes.
        keys: config keys that differ: of the model alone, where one side says nothing of training.
        tensors: shapes of parameters that are not alike, by flat name.
        context: tokens in view, for costs.
        figures: parameters, operations a token and bytes of cache.
        weights: of parameters that are alike, where both are runs with checkpoints, the furthest first; else None.
        data: fingerprints of the shards, or of what was imported.
        metrics: the last of each that was logged.
    """

    names: tuple[str, str]
    context: int
    same_architecture: bool
    keys: dict[str, Pair]
    tensors: dict[str, Pair]
    figures: dict[str, tuple[int, int]]
    weights: list[Change] | None
    data: dict[str, Pair]
    metrics: dict[str, Pair]


def diff(a: Subject, b: Subject) -> Difference:
    """Compares two subjects; costs are told for the shorter of their contexts."""
    shapes = [flat.shapes(side.model) for side in (a, b)]
    context = min(a.model.max_seq_len, b.model.max_seq_len)
    figures = {
        "parameters": (cost.n_params(a.model), cost.n_params(b.model)),
        "active": (cost.n_active_params(a.model), cost.n_active_params(b.model)),
        "train_flops": (cost.flops_per_token(a.model, context), cost.flops_per_token(b.model, context)),
        "cache_bytes": (cost.cache_bytes(a.model, context), cost.cache_bytes(b.model, context)),
    }
    facts, metrics = [_data(side) for side in (a, b)], [_metrics(side) for side in (a, b)]
    configs_ab = [_config(side, whole=a.trains and b.trains) for side in (a, b)]
    return Difference(
        names=(a.name, b.name),
        context=context,
        same_architecture=fitting.architecture(a.model) == fitting.architecture(b.model),
        keys={key: (old, new) for key, old, new in configs.differences(*configs_ab)},
        tensors=_unlike(*shapes),
        figures=figures,
        weights=_weights(a, b, {name for name in shapes[0] if shapes[0][name] == shapes[1].get(name)}),
        data=_unlike(*facts),
        metrics=_together(*metrics),
    )


def _together(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {name: (a.get(name), b.get(name)) for name in [*a, *(name for name in b if name not in a)]}


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {name: pair for name, pair in _together(a, b).items() if pair[0] != pair[1]}


def _config(subject: Subject, whole: bool) -> dict[str, Any]:
    """Returns the config, whole or of the model alone."""
    config = configs.to_dict(subject.config)
    return config if whole else {"model": config["model"]}


def _data(subject: Subject) -> dict[str, str]:
    """Returns what identifies the data that a run was trained on, or the files that it was imported from."""
    if subject.directory is None or not (subject.directory / runs.RUN).is_file():
        return {}
    data = runs.read_facts(subject.directory)["data"]
    return dict(configs.flatten({"imported": data} if runs.is_imported(subject.directory) else {"shards": data}))


def _metrics(subject: Subject) -> dict[str, float]:
    """Returns the last value of every loss and accuracy that a run logged, and its last step."""
    if subject.directory is None:
        return {}
    found = record.read(subject.directory)
    names = dict.fromkeys(name for line in found.metrics for name in line if name.startswith(("train/loss", "val/")))
    last = {name: value[1] for name in names if (value := found.last(name))}
    return {"step": found.step, **last} if last else {}


def _weights(a: Subject, b: Subject, names: set[str]) -> list[Change] | None:
    """Compares the newest checkpoints' tensors of these names."""
    if not (_trained(a) and _trained(b)):
        return None
    first, second = _tensors(a), _tensors(b)
    changes = [Change(name, _distance(first[name], second[name])) for name in first if name in names]
    return sorted(changes, key=lambda change: -change.relative)


def _trained(subject: Subject) -> bool:
    return subject.directory is not None and (subject.directory / runs.CHECKPOINTS).is_dir()


def _tensors(subject: Subject) -> dict[str, np.ndarray]:
    assert subject.directory is not None
    with Checkpoints(buckets.checkpoints(subject.directory)) as checkpoints:
        _, params, _ = checkpoints.restore_params()
    return flat.flatten(subject.model, params)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    change, length = float(np.linalg.norm(b - a)), float(np.linalg.norm(a))
    return change / length if length else (math.inf if change else 0.0)


def verdict(found: Difference) -> str:
    """Returns the difference in a line: `same architecture; 2 config keys differ; 11 of 11 tensors differ`."""
    said = ["same architecture" if found.same_architecture else "different architectures"]
    said.append(
        f"{len(found.keys)} config key{'s differ' if len(found.keys) > 1 else ' differs'}" if found.keys else ""
    )
    if found.weights is not None:
        moved = sum(change.relative > 0 for change in found.weights)
        said.append(f"{moved} of {len(found.weights)} tensors differ" if moved else "same weights")
    if None not in found.data.get("shards", (None,)):
        said.append("different data")
    return "; ".join(filter(None, said))


def text(found: Difference) -> str:
    """Returns the difference for a terminal: the verdict, then the details."""
    blocks = [
        ("config", [[key, _value(a), _value(b)] for key, (a, b) in found.keys.items()]),
        ("parameters", _tensor_rows(found.tensors)),
        ("costs", _cost_rows(found)),
        ("weights", _weight_rows(found.weights)),
        ("data", [[name, _value(a), _value(b)] for name, (a, b) in found.data.items()]),
        ("results", [[name, _number(a), _number(b)] for name, (a, b) in found.metrics.items()]),
    ]
    rows = [["", *found.names]]
    headings: dict[int, str] = {}
    for name, block in blocks:
        if block:
            headings[len(rows)] = name
            rows += [["  " + row[0], *row[1:]] for row in block]
    lines = [verdict(found), ""]
    for i, line in enumerate(columns(rows)):
        lines += ["", headings[i]] if i in headings else []
        lines.append(line)
    return "\n".join(lines)


_COSTS = {
    "parameters": "parameters",
    "active": "active parameters",
    "train_flops": "FLOPs to train on a token, {context:,} in view",
    "cache_bytes": "cache for them",
}
_FURTHEST = 10  # tensors that are shown


def _value(value: Any) -> str:
    return "–" if value is None else str(value) or "''"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _cost_rows(found: Difference) -> list[list[str]]:
    rows = []
    for name, pair in found.figures.items():
        said = size if name == "cache_bytes" else quantity if name == "train_flops" else "{:,}".format
        rows.append([_COSTS[name].format(context=found.context), *map(said, pair)])
    return rows


def _shape(shape: tuple[int, ...] | None) -> str:
    return "–" if shape is None else " × ".join(map(str, shape)) or "1"


def _tensor_rows(tensors: Mapping[str, Pair]) -> list[list[str]]:
    """Returns a row for each parameter that is not alike, those of several layers in one."""
    layers: dict[tuple[str, Pair], list[int]] = {}
    for name, pair in tensors.items():
        first, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if first == "layers":
            layers.setdefault((inner, pair), []).append(int(number))
        else:
            layers.setdefault((name, pair), [])
    return [
        [f"{name}, {layer_numbers(sorted(found))}" if found else name, *map(_shape, pair)]
        for (name, pair), found in layers.items()
    ]


def layer_numbers(found: list[int]) -> str:
    """Returns `layer 3` or `layers 0–5`."""
    return f"layer{'s' if len(found) > 1 else ''} {numbers(found)}"


def _weight_rows(weights: list[Change] | None) -> list[list[str]]:
    """Returns the tensors that changed furthest."""
    if weights is None:
        return []
    moved = [change for change in weights if change.relative]
    rows = [[change.name, "", f"{change.relative:.3g} of its length away"] for change in moved[:_FURTHEST]]
    rest = [(len(moved) - _FURTHEST, "more, closer"), (len(weights) - len(moved), "the same")]
    return [*rows, *([f"{count} {how}"] for count, how in rest if count > 0)]


def as_json(found: Difference) -> dict[str, Any]:
    """Returns the difference as plain data."""
    return asdict(found)
