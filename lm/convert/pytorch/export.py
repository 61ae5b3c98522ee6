"""A directory that needs PyTorch and transformers alone: weights, config, one readable module, a model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lm.common.errors import UserError
from lm.common.whole import whole_directory
from lm.convert import parity
from lm.convert.hf import card, reading, writing
from lm.convert.hf import tokenizers as tokenizer_files
from lm.convert.hf.settings import Settings, read_json
from lm.convert.hf.table import Family
from lm.convert.pytorch import names
from lm.model import ahead
from lm.model.config import EXECUTION, ModelConfig

_SOURCE = Path(__file__).with_name("modeling_lm.py")
# How it is computed, which the module decides, and what only training has.
_LEFT_OUT = (*EXECUTION, "predict_ahead")


def write(
    cfg: ModelConfig,
    params: Any,
    directory: str | Path,
    *,
    tokenizer: Path | None = None,
    bos: bool = False,
    dtype: str = "float32",
    max_shard_bytes: int = 5_000_000_000,
    facts: Mapping[str, str] | None = None,
) -> writing.Exported:
    """Writes the model as a PyTorch module that `trust_remote_code` loads, all of it or nothing.

    Where torch and transformers are installed, the module is run beside the JAX model, and the card tells how far
    they are apart. A tokenizer that tokenizer.json cannot reproduce is left out, with a note.

    Args:
        cfg: the architecture.
        params: the parameter tree.
        directory: where to; new or empty.
        tokenizer: the directory of the model's tokenizer; left out if None.
        bos: whether text begins with `<bos>`, which the written tokenizer then puts in front.
        dtype: of the weights: float32, bfloat16 or float16.
        max_shard_bytes: of one file of weights; a larger tensor has one to itself.
        facts: what else the model card tells, by label.

    Raises:
        UserError: the directory is not empty; a value that the dtype cannot hold; the module computes something else.
    """
    directory = Path(directory)
    depths = cfg.predict_ahead
    cfg, params = ahead.left_out(cfg, params)
    with whole_directory(directory, "output") as output:
        found = _tokenizer(tokenizer, cfg, bos)
        made = writing.fill(output, cfg, params, FAMILY, names.rows(cfg), found, dtype, max_shard_bytes)
        shutil.copyfile(_SOURCE, output / _SOURCE.name)
        checked = _check(cfg, params, output, dtype)
        made.notes.extend(ahead.notes(depths))
        made.notes.append(f"checked against the JAX model: {checked}")
        told = {**(facts or {}), "Checked against the JAX model": checked}
        has_tokenizer = bool(found.contents)
        text = card.text(directory.absolute().name, cfg, FAMILY, dtype, told, tokenizer=has_tokenizer, own_code=True)
        (output / "README.md").write_text(text, encoding="utf-8")
    return made


def read(directory: str | Path) -> reading.Imported:
    """Reads such a directory back: the architecture, with how it is computed at its defaults, and its parameters.

    Raises:
        UserError: no such directory, a config that is not known, or tensors that are not the architecture's.
    """
    directory = Path(directory)
    _, cfg = read_config(directory)
    params, dtype = reading.read_params(directory, FAMILY, cfg, names.rows(cfg))
    return reading.Imported(cfg, params, FAMILY, dtype)


def read_config(directory: str | Path) -> tuple[Family, ModelConfig]:
    """Reads the architecture alone.

    Raises:
        UserError: as `read`, of the config.
    """
    path = Path(directory) / reading.CONFIG
    settings = Settings(read_json(path), str(path))
    cfg = _read_config(settings)
    settings.finish()
    return FAMILY, cfg


def _write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the architecture as `config.json` says it."""
    values = {key: value for key, value in asdict(cfg).items() if key not in _LEFT_OUT}
    classes = {"AutoConfig": "LmConfig", "AutoModelForCausalLM": "LmForCausalLM"}
    return {**values, "auto_map": {auto: f"{_SOURCE.stem}.{name}" for auto, name in classes.items()}}


def _read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture that a `config.json` says, with how it is computed at its defaults."""
    values = {}
    for item in fields(ModelConfig):
        if item.name in _LEFT_OUT:
            continue
        needed = item.default is MISSING and item.default_factory is MISSING
        value = settings.take(item.name) if needed else settings.take(item.name, None)
        if value is None:
            continue
        values[item.name] = value
        if isinstance(item.default_factory, type):  # a section of its own
            known = {key.name for key in fields(item.default_factory)}
            if not isinstance(value, dict):
                raise settings.refusal(item.name, value, "an object is expected")
            if left := sorted(value.keys() - known):
                raise settings.refusal(item.name, value, f"{', '.join(left)} is not known in this version")
    return ModelConfig.from_dict(values)


FAMILY = Family(
    model_type="lm",
    architecture="LmForCausalLM",
    entries=(),  # names follow a rule, see `names`
    read_config=_read_config,
    write_config=_write_config,
    tied={"head.weight": "embed.table.weight"},
    prefix="",
)


def _tokenizer(directory: Path | None, cfg: ModelConfig, bos: bool) -> tokenizer_files.Files:
    if directory is None:
        return tokenizer_files.Files({}, {}, [])
    try:
        return tokenizer_files.files(directory, cfg, bos=bos)
    except UserError as error:
        return tokenizer_files.Files({}, {}, [f"left out: {error}"])


def _check(cfg: ModelConfig, params: Any, output: Path, dtype: str) -> str:
    """Runs the module beside the JAX model with the weights as they were stored; returns what the card says of it.

    Raises:
        UserError: they are further apart than rounding explains.
    """
    if not parity.is_possible():
        return "no, since torch and transformers were not installed"
    if dtype != "float32":
        params = jax.tree.map(lambda a: np.asarray(a).astype(writing.DTYPES[dtype]).astype(np.float32), params)
    measured = parity.measure(cfg, params, output)
    told = ", ".join(f"{parity.CASES[name]} {share:.1e}" for name, share in measured.items())
    if not all(share <= parity.TOLERANCE for share in measured.values()):  # nor is one NaN
        raise UserError(
            f"output: the PyTorch module's logits differ from the model's by more than {parity.TOLERANCE:.0e} of the "
            f"largest ({told}), so nothing was written; please report it with the run's config.json"
        )
    return (
        f"on random tokens, in float32, no logit is further off than {max(measured.values()):.1e} of the largest "
        f"({told}; allowed is {parity.TOLERANCE:.0e})"
    )
