"""What is looked at without being run: a run, a config file or a preset, as an architecture and how it trains."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lm.common import config as configs
from lm.common import mesh as meshes
from lm.common.errors import UserError
from lm.model import presets
from lm.model.config import ModelConfig
from lm.train import defaults, setup, sizing
from lm.train import run as runs

# A preset says nothing of training; its memory is told for one sequence a device, no longer than this.
PRESET_TOKENS = 2048


@dataclass(frozen=True)
class Subject:
    """An architecture under a name, and the config it is or would be trained with.

    Attributes:
        name: what it was asked for by.
        model: the architecture.
        config: the resolved config of the run, or of one that would be made; a preset's has the defaults.
        mesh: the devices it is spread over.
        directory: the run, where it is one.
        note: what was assumed, or "".
        trains: whether the config says how it is trained; that of a preset, or of what was imported, does not.
    """

    name: str
    model: ModelConfig
    config: ConfigDict
    mesh: Mesh
    directory: Path | None = None
    note: str = ""
    trains: bool = True

    @property
    def rows(self) -> int:
        """Sequences that a device trains on at a time."""
        train = self.config.train
        return max(1, train.batch_size // (train.microbatches * meshes.batch_parts(self.mesh)))

    @property
    def seq_len(self) -> int:
        """Tokens of each of them."""
        return self.model.max_seq_len if self.trains else min(self.model.max_seq_len, PRESET_TOKENS)


def find(
    name: str, *, changes: Mapping[str, Any] | None = None, devices: int | None = None, dtype: str = "bfloat16"
) -> Subject:
    """Finds a run directory, else a config `FILE[:arg]`, else a preset.

    `changes` are keys of the config, by dotted name, to be set otherwise; `devices` is how many the mesh is laid over,
    as many as the run had or this machine has if None; `dtype` is what a config leaves open.

    Raises:
        UserError: there is no such thing, it is damaged, or it does not fit the devices.
    """
    assignments = [(key, str(value)) for key, value in (changes or {}).items()]
    path = Path(name)
    if path.is_dir():
        return _from_run(path, assignments, devices)
    if name.partition(":")[0].endswith(".py"):
        return _from_file(name, assignments, devices, dtype)
    if name in presets.names():
        return _from_preset(name, assignments, devices, dtype)
    if "/" in name or path.exists():
        raise UserError(f"{name}: {runs.whereabouts(path)}")
    near = [*runs.near(path), *difflib.get_close_matches(name, presets.names(), n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else "name a run, a config FILE.py[:arg] or one of those"
    raise UserError(f"{name}: no such directory, nor a published architecture of lm.model.presets; {hint}")


Assignments = Sequence[tuple[str, str]]


def _from_run(directory: Path, changes: Assignments, devices: int | None) -> Subject:
    config = ConfigDict(runs.read_config(directory))
    configs.override(config, changes, defaults.pretrain())
    if runs.is_imported(directory):
        return _untrained(str(directory), config, devices, directory=directory)
    if devices is None and (directory / runs.RUN).is_file():
        devices = math.prod(runs.read_facts(directory)["mesh"].values())
    return _subject(str(directory), config, devices, directory=directory)


def _from_file(name: str, changes: Assignments, devices: int | None, dtype: str) -> Subject:
    config = configs.load_for("pretrain", name, defaults.pretrain(), "config")
    configs.override(config, changes, defaults.pretrain())
    config = config.copy_and_resolve_references()
    known = config.tokenizer.vocab_size or config.model.vocab_size
    model, _ = sizing.resolve_model(config.model, known or setup.ASSUMED_VOCABULARY, dtype)
    sizing.resolve_training(config, model, meshes.batch_parts(_mesh(config, devices)))
    note = "" if known else f"a vocabulary of {model.vocab_size}, until a tokenizer is trained"
    return _subject(name, config, devices, note=note)


def _from_preset(name: str, changes: Assignments, devices: int | None, dtype: str) -> Subject:
    config = defaults.pretrain()
    config.model = defaults.preset(name)
    config.model.update(vocab_size=presets.get(name).vocab_size, dtype=dtype)
    configs.override(config, changes, defaults.pretrain())
    return _untrained(name, config, devices)


def _untrained(name: str, config: ConfigDict, devices: int | None, **more: Any) -> Subject:
    """Returns a subject whose config says nothing of training: one sequence a device stands for it."""
    config.train.update(batch_size=meshes.batch_parts(_mesh(config, devices)), steps=1)
    return _subject(name, config, devices, trains=False, **more)


def _subject(name: str, config: ConfigDict, devices: int | None, **more: Any) -> Subject:
    return Subject(name, ModelConfig.from_dict(config.model), config, _mesh(config, devices), **more)


class _Device:
    """Stands for a device of another machine, so that a mesh can be laid out that is not here."""

    def __init__(self, number: int) -> None:
        self.id, self.process_index, self.platform, self.device_kind = number, 0, "none", "none"


def _mesh(config: ConfigDict, devices: int | None) -> Mesh:
    """Lays the config's mesh over so many devices; over this machine's, or as many as it needs, if None."""
    sizes = meshes.fill(config.mesh)
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if devices is None:
        devices = jax.device_count() if -1 in sizes.values() and jax.device_count() % fixed == 0 else fixed
    return meshes.make_mesh(sizes, [_Device(number) for number in range(devices)])
