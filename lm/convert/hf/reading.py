"""From a directory in Hugging Face's format to an architecture and its parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.common.errors import UserError
from lm.convert import flat
from lm.convert.hf import families
from lm.convert.hf.settings import Settings, read_json
from lm.convert.hf.stored import DTYPES, Tensors
from lm.convert.hf.table import Family, Row, rows
from lm.model.config import ModelConfig

CONFIG = "config.json"
_SHOWN = 4  # tensors of each kind of mistake that a message names


class Imported(NamedTuple):
    """What a checkpoint holds: the architecture, float32 parameters, its family, and the dtype that it was stored in.

    Where it was stored in several that is float32, which holds them all.
    """

    config: ModelConfig
    params: Any
    family: Family
    dtype: str


def read(directory: str | Path) -> Imported:
    """Reads a checkpoint; beside the float32 parameters, one of their tensors at a time is in memory.

    Raises:
        UserError: no such checkpoint; a family or a feature that is not known; a tensor that is missing, left over,
            mis-shaped or not finite; a damaged file.
    """
    directory = Path(directory)
    settings = _settings(directory)
    family, cfg = _understood(settings)
    params, dtype = read_params(directory, family, cfg, rows(family, cfg), family.further(settings))
    return Imported(cfg, params, family, dtype)


def read_params(
    directory: Path, family: Family, cfg: ModelConfig, table: list[Row], further: int = 0
) -> tuple[Any, str]:
    """Reads the parameters that a name map finds, float32, and the dtype that they were stored in.

    `further` layers after the last are passed over.

    Raises:
        UserError: as `read`, of the tensors.
    """
    with Tensors(directory) as tensors:
        names = _match(directory, family, cfg, table, tensors, range(cfg.n_layers, cfg.n_layers + further))
        params, views = flat.allocate(cfg)
        for row in table:
            theirs = [tensors.read(names[name]) for name in row.theirs]
            for one, array in zip(row.ours, row.read(theirs), strict=True):
                views[one.name][...] = array
        _check_tied(family, cfg, names, tensors)
        dtypes = {tensors.entries[names[name]].dtype for row in table for name in row.theirs}
    return params, dtypes.pop() if len(dtypes) == 1 else "float32"


def read_config(directory: Path) -> tuple[Family, ModelConfig]:
    """Reads the architecture alone.

    Raises:
        UserError: as `read`, of the config.
    """
    return _understood(_settings(directory))


def _settings(directory: Path) -> Settings:
    return Settings(read_json(path := directory / CONFIG), str(path))


def _understood(settings: Settings) -> tuple[Family, ModelConfig]:
    """Returns the family that the settings are of, and the architecture that they say."""
    where = settings.where
    if settings.given("quantization_config"):
        raise UserError(f"{where}: quantization_config: quantised weights are not read; take the original checkpoint")
    if not isinstance(kind := settings.take("model_type", None), str):
        raise UserError(f"{where}: model_type is missing, so the family is not known; copy the file again")
    family = families.named(kind, f"{where}: model_type")
    cfg = family.read_config(settings)
    settings.finish()
    return family, cfg


def _match(
    directory: Path, family: Family, cfg: ModelConfig, table: list[Row], tensors: Tensors, further: range
) -> dict[str, str]:
    """Returns under which name each tensor of the table, and each tied one, is stored; all that is wrong is named."""
    wanted = {name: shape for row in table for name, shape in zip(row.theirs, row.shapes, strict=True)}
    tied = family.tied if cfg.tie_embeddings else {}
    found = _names(family, {*wanted, *tied}, tensors, further)
    known = {name: tensors.entries[found[name]] for name in wanted if name in found}
    mistakes = {
        "missing": [name for name in wanted if name not in found],
        "not known": [name for name in found if name not in wanted and name not in tied],
        "mis-shaped": [
            f"{name} is {e.shape}, not {wanted[name]}" for name, e in known.items() if e.shape != wanted[name]
        ],
        f"not of {', '.join(DTYPES.values())}": [
            f"{name} is {e.dtype}" for name, e in known.items() if e.dtype not in DTYPES.values()
        ],
    }
    if any(mistakes.values()):
        said = "; ".join(f"{what} {_listed(items)}" for what, items in mistakes.items() if items)
        raise UserError(
            f"{directory}: the tensors are not those of a {family.model_type} with this {CONFIG}: {said}; "
            "copy weights and config from the same place"
        )
    return found


def _names(family: Family, wanted: set[str], tensors: Tensors, further: range) -> dict[str, str]:
    """Returns the stored name of each tensor by the family's name for it, leaving out those that are not the model's.

    Those hold no weights, or are of one of the `further` layers.
    """
    found = {}
    for stored in tensors.entries:
        whole = family.prefix + stored  # where the trunk alone was stored
        if not any(_is_passed_over(family, name, further) for name in (stored, whole)):
            found[whole if stored not in wanted and whole in wanted else stored] = stored
    return found


def _is_passed_over(family: Family, name: str, further: range) -> bool:
    layer = re.match(rf"{re.escape(family.prefix)}layers\.(\d+)\.", name)
    return bool(layer and int(layer[1]) in further) or any(re.fullmatch(one, name) for one in family.ignored)


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _check_tied(family: Family, cfg: ModelConfig, names: dict[str, str], tensors: Tensors) -> None:
    """Checks that a copy of a tied tensor is one."""
    for copy, original in family.tied.items() if cfg.tie_embeddings else ():
        if copy in names and not np.array_equal(tensors.read(names[copy]), tensors.read(names[original])):
            raise UserError(
                f"{tensors.entries[names[copy]].file}: {copy} differs from {original}, but {CONFIG} ties the two; "
                "set tie_word_embeddings to false there if they are meant to differ"
            )
