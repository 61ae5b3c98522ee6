"""From an architecture and its parameters to a directory in Hugging Face's format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from lm.common.errors import UserError
from lm.common.whole import whole_directory
from lm.convert import flat
from lm.convert.hf import card, fitting
from lm.convert.hf import tokenizers as tokenizer_files
from lm.convert.hf.reading import CONFIG
from lm.convert.hf.stored import INDEX, SINGLE
from lm.convert.hf.table import Family, Row, rows
from lm.model import ahead
from lm.model.config import ModelConfig

DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
GENERATION = "generation_config.json"
# Said outright: a reader that fills in its family's own may find them beyond the vocabulary.
NO_IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


class Exported(NamedTuple):
    """What was written: the family, the weights' bytes and files, and what a reader should know is not in them."""

    family: Family
    n_bytes: int
    n_files: int
    notes: list[str]


def write(
    cfg: ModelConfig,
    params: Any,
    directory: str | Path,
    *,
    tokenizer: Path | None = None,
    bos: bool = False,
    family: str | None = None,
    preferred: str | None = None,
    dtype: str = "float32",
    max_shard_bytes: int = 5_000_000_000,
    facts: Mapping[str, str] | None = None,
) -> Exported:
    """Writes weights, config, generation config, tokenizer and model card, all of it or nothing.

    Args:
        cfg: the architecture.
        params: the parameter tree.
        directory: where to; new or empty.
        tokenizer: the directory of the model's tokenizer; left out if None.
        bos: whether text begins with `<bos>`, which the written tokenizer then puts in front.
        family: as which to write; else the first that can say the architecture.
        preferred: the family to try first.
        dtype: of the weights: float32, bfloat16 or float16.
        max_shard_bytes: of one file of weights; a larger tensor has one to itself.
        facts: what else the model card tells, by label.

    Raises:
        UserError: the directory is not empty; no family fits; a value that the dtype cannot hold; a tokenizer that the
            format cannot reproduce.
    """
    directory = Path(directory)
    depths = cfg.predict_ahead
    cfg, params = ahead.left_out(cfg, params)
    chosen = fitting.choose(cfg, family, preferred)
    with whole_directory(directory, "output") as output:
        found = tokenizer_files.files(tokenizer, cfg, bos=bos) if tokenizer else tokenizer_files.Files({}, {}, [])
        made = fill(output, cfg, params, chosen, rows(chosen, cfg), found, dtype, max_shard_bytes)
        text = card.text(directory.absolute().name, cfg, chosen, dtype, facts or {}, tokenizer=bool(found.contents))
        (output / "README.md").write_text(text, encoding="utf-8")
    made.notes.extend(ahead.notes(depths))
    if cfg.dropout:
        made.notes.append(f"model.dropout={cfg.dropout}: not written, since it acts in training alone")
    return made


def fill(
    output: Path,
    cfg: ModelConfig,
    params: Any,
    family: Family,
    table: list[Row],
    tokenizer: tokenizer_files.Files,
    dtype: str,
    max_shard_bytes: int,
) -> Exported:
    """Writes all but the card into an empty directory, the tensors by the name map `table`; see `write`.

    Raises:
        UserError: a dtype that is not known, or a value that it cannot hold.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype}: choose one of {', '.join(DTYPES)}")
    if max_shard_bytes < 1:
        raise UserError(f"max_shard_bytes={max_shard_bytes}: must be at least 1")
    for name, content in tokenizer.contents.items():
        (output / name).write_bytes(content)
    values = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **family.write_config(cfg),
        **NO_IDS,
        **tokenizer.ids,
        "torch_dtype": dtype,
        "use_cache": True,
    }
    _write_json(output / CONFIG, values)
    if GENERATION not in tokenizer.contents:
        _write_json(output / GENERATION, tokenizer.ids)
    n_bytes, n_files = _write_weights(output, table, flat.flatten(cfg, params), dtype, max_shard_bytes)
    return Exported(family, n_bytes, n_files, [*tokenizer.notes])


def _write_weights(
    output: Path, table: list[Row], ours: Mapping[str, np.ndarray], dtype: str, max_shard_bytes: int
) -> tuple[int, int]:
    """Writes the tensors in as many files as they need; returns their bytes and the number of files."""
    shards = list(_shards(table, np.dtype(DTYPES[dtype]).itemsize, max_shard_bytes))
    places: dict[str, str] = {}
    n_bytes = 0
    for number, shard in enumerate(shards, 1):
        tensors = {name: array for row in shard for name, array in _encode(row, ours, dtype)}
        name = SINGLE if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(tensors, output / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        n_bytes += sum(array.nbytes for array in tensors.values())
    if len(shards) > 1:
        _write_json(output / INDEX, {"metadata": {"total_size": n_bytes}, "weight_map": places})
    return n_bytes, len(shards)


def _shards(table: list[Row], width: int, max_bytes: int) -> Iterator[list[Row]]:
    """Yields rows for one file each, in the order of the table, of at most `max_bytes` unless a row alone has more."""
    shard: list[Row] = []
    held = 0
    for row in table:
        size = width * sum(int(np.prod(shape)) for shape in row.shapes)
        if shard and held + size > max_bytes:
            yield shard
            shard, held = [], 0
        shard.append(row)
        held += size
    yield shard


def _encode(row: Row, ours: Mapping[str, np.ndarray], dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    arrays = row.write([ours[one.name] for one in row.ours])
    for name, array in zip(row.theirs, arrays, strict=True):
        with np.errstate(over="ignore"):
            cast = array.astype(DTYPES[dtype], order="C")
        if not np.isfinite(cast.astype(np.float32)).all():
            if np.isfinite(array).all():
                raise UserError(f"dtype={dtype}: {name} holds numbers beyond its range; use bfloat16 or float32")
            raise UserError(f"{row.ours[0].name}: holds values that are not finite; export an earlier checkpoint")
        yield name, cast


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
