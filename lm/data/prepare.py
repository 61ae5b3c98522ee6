"""From the `data` section of a config to sources, a tokenizer directory and a shard directory.

The `lm tokenizer`, `lm shard` and `lm pretrain` commands all come through here, so they agree on what is read, how
it is split, and when what is on disk already can be used again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from lm.common import buckets, manifest
from lm.common import config as configs
from lm.common.errors import UserError
from lm.data import mixture
from lm.data import tokenizer as tokenizers
from lm.data.readers import Documents, open_documents
from lm.data.readers.tokens import FORMATS as TOKEN_FORMATS
from lm.data.readers.tokens import open_token_documents
from lm.data.shards import Shards, write_shards, write_token_shards
from lm.data.split import split
from lm.data.tokenizer import ids

ONE_SOURCE = "text"
# Keys of the data section that are kept otherwise in a manifest of shards, or do not change what they are.
_NOT_OF_SHARDS = ("workers", "mixture", "path", "temperature", "max_epochs")


def defaults() -> ConfigDict:
    """Returns the keys that say what text is read and how it is split."""
    return ConfigDict(
        {
            "path": "",  # a file, a folder, hf://datasets/…, builtin:stdlib, builtin:world, or a shard directory
            "mixture": {},  # or several: mixture.NAME.path and, for all or none, .weight: its share of training
            "temperature": 1.0,  # where no weights are given: 1 mixes sources by size, more mixes them more evenly
            "max_epochs": 0.0,  # no source is read more often in a run, others more in its place; 0 is no cap
            "format": "auto",  # by suffix; or txt, jsonl, parquet, arrow, code, nanogpt, megatron, arrow_tokens
            "text_key": "text",  # of JSONL, parquet and Arrow: the field that holds the text
            "token_key": "input_ids",  # of token files in Arrow or parquet: the field that holds the ids
            "end_id": config_dict.placeholder(int),  # the id that ends documents in token files, if one does
            "separator": "",  # cuts txt files into documents, such as "<|endoftext|>"
            "validation": 0.05,  # share of documents held out; of a single document, its end
            "seed": 0,  # of the split
            "bos": True,  # a <bos> before each document
            "eos": True,  # an <eos> after each document
            "workers": 0,  # tokenizing processes; 0 is one a core
        }
    )


def tokenizer_defaults() -> ConfigDict:
    """Returns the keys that say which tokenizer is made, or where one is taken from."""
    return configs.join(
        {
            "path": "",  # a directory that `lm tokenizer` made; the other keys are for making one
        },
        tokenizers.defaults(),
    )


def paths(data: Any) -> dict[str, str]:
    """Returns the path of each source by name.

    Raises:
        UserError: neither or both of `data.path` and `data.mixture` are given, or a source lacks a path or weight.
    """
    if bool(data.path) == bool(data.mixture):
        what = "not both" if data.path else "such as --config.data.path=my_text_folder"
        raise UserError(f"data.path={data.path!r}: give data.path or data.mixture, {what}")
    for name, source in data.mixture.items():
        if not isinstance(source, Mapping | ConfigDict):
            raise UserError(f"data.mixture.{name}={source!r}: give data.mixture.{name}.path and .weight")
        if set(source) not in ({"path"}, {"path", "weight"}):
            raise UserError(f"data.mixture.{name}: has {', '.join(source) or 'nothing'}; give path and weight, no more")
        if set(source) != set(next(iter(data.mixture.values()))):
            raise UserError(f"data.mixture.{name}: give every source a weight, or none (then they mix by size)")
        if not isinstance(source["path"], str):
            raise UserError(f"data.mixture.{name}.path={source['path']!r}: not a path; a folder of that name is ./NAME")
        weight = source.get("weight", 0)
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise UserError(f"data.mixture.{name}.weight={weight!r}: give a number, 0 or more")
    return {ONE_SOURCE: data.path} if data.path else {name: source["path"] for name, source in data.mixture.items()}


def is_shards(data: Any) -> bool:
    """Says whether `data.path` is a directory that `lm shard` made, here or in a bucket.

    Raises:
        UserError: it is in a bucket, and something else.
    """
    if buckets.is_bucket(data.path):
        if buckets.stage_of(data.path) != "shard":
            raise UserError(f"data.path={data.path}: not made by `lm shard`; of a bucket only shards are read")
        return True
    path = Path(data.path) / manifest.NAME
    if not data.path or not path.is_file():
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("stage") == "shard"
    except (ValueError, AttributeError):  # somebody else's manifest.json, in a folder of text
        return False


def weights(shards: Shards, data: Any, budget: int) -> dict[str, float]:
    """Returns each source's share of a run of `budget` tokens.

    Raises:
        UserError: see `mixture.shares`.
    """
    tokens = {source.name: source.n_tokens for source in shards.sources("train")}
    given = shards.manifest.config.get("weights", {})
    return mixture.shares(tokens, given, temperature=data.temperature, max_epochs=data.max_epochs, budget=budget)


def adopt(data: Any, tokenizer: Any, shards: Shards) -> list[str]:
    """Sets the keys of both sections to what finished shards were made with, in place, and returns those it changed."""
    data.path = shards.address
    made = {"data": shards.manifest.config, "tokenizer": manifest.read(shards.tokenizer_dir, "tokenizer").config}
    changed = []
    for name, section in (("data", data), ("tokenizer", tokenizer)):
        for key, value in made[name].items():
            if key in section and section[key] != value:
                section[key] = value
                changed.append(f"{name}.{key}")
    return changed


class Splits:
    """The train and validation documents of every source."""

    def __init__(self, data: Any) -> None:
        self.is_tokens = data.format in TOKEN_FORMATS
        self._data = data
        self.sources = {name: self._open(path) for name, path in paths(data).items()}
        halves = {name: split(source, data.validation, data.seed) for name, source in self.sources.items()}
        self.train = {name: half[0] for name, half in halves.items()}
        self.validation = {name: half[1] for name, half in halves.items()} if data.validation else {}

    def _open(self, path: str) -> Any:
        if self.is_tokens:
            return open_token_documents(
                path, format=self._data.format, token_key=self._data.token_key, end_id=self._data.end_id
            )
        return open_documents(
            path, format=self._data.format, text_key=self._data.text_key, separator=self._data.separator
        )

    def inputs(self) -> dict[str, str]:
        """Returns the fingerprint of every source."""
        return {name: source.fingerprint() for name, source in self.sources.items()}

    def by_split(self) -> dict[str, Mapping[str, Any]]:
        """Returns documents by split and source, in the shape `write_shards` takes."""
        return {"train": self.train, **({"val": self.validation} if self.validation else {})}


class Texts:
    """The texts of several sources one after another, as often as asked."""

    def __init__(self, sources: Mapping[str, Documents]) -> None:
        self._sources = sources

    def __iter__(self) -> Iterator[str]:
        return (document.text for source in self._sources.values() for document in source)


def describe(splits: Splits) -> str:
    """Returns one line a source: what would be read."""
    return "\n".join(f"{name}: {source.describe()}" for name, source in splits.sources.items())


def prepare_tokenizer(tokenizer: Any, data: Any, splits: Splits, output: Path) -> Path:
    """Trains a tokenizer on the training text (or takes the one at `tokenizer.path`) and returns its directory.

    A finished one made the same way is used again.

    Raises:
        UserError: see `tokenizer.train`; or `output` holds one made otherwise.
    """
    if tokenizer.path:
        manifest.read(Path(tokenizer.path), "tokenizer")
        return Path(tokenizer.path)
    if splits.is_tokens:
        if manifest.find(output, "tokenizer") is None:
            largest = max(
                data.end_id or 0, *(int(d.tokens.max(initial=0)) for source in splits.sources.values() for d in source)
            )
            ids.write(output, n_ids=largest + 1, end_id=data.end_id, inputs=splits.inputs())
        return output
    wanted = {key: value for key, value in configs.to_dict(tokenizer).items() if key != "path"}
    # What text it learns from is part of what it is; the fingerprints do not know the split.
    inputs = splits.inputs() | {"split": f"{data.validation} by seed {data.seed}"}
    if manifest.find_same(output, "tokenizer", config=wanted, inputs=inputs) is None:
        tokenizers.train(wanted, Texts(splits.train), output, inputs=inputs)
    return output


def bytes_per_token(tokenizer: Any) -> float | None:
    """Returns UTF-8 bytes a token as far as they are known before a tokenizer is trained, else None."""
    if tokenizer.path:
        return manifest.read(Path(tokenizer.path), "tokenizer").counts.get("bytes_per_token")
    return 1.0 if tokenizer.kind == "char" else None


def prepare_shards(data: Any, splits: Splits, tokenizer_dir: Path, output: Path) -> Shards:
    """Tokenizes every source into a shard directory and opens it; a finished one made the same way is used again.

    Raises:
        UserError: see `write_shards`; or `output` holds shards made otherwise.
    """
    config = {key: value for key, value in configs.to_dict(data).items() if key not in _NOT_OF_SHARDS}
    config["paths"] = paths(data)
    config["weights"] = {name: float(source["weight"]) for name, source in data.mixture.items() if "weight" in source}
    inputs = splits.inputs() | {"tokenizer": manifest.fingerprint_stage(tokenizer_dir)}
    if manifest.find_same(output, "shard", config=config, inputs=inputs) is None:
        options = {"config": config, "inputs": inputs, "bos": data.bos, "eos": data.eos}
        if splits.is_tokens:
            write_token_shards(splits.by_split(), tokenizer_dir, output, **options)
        else:
            write_shards(splits.by_split(), tokenizer_dir, output, workers=data.workers, **options)
    return Shards.open(output)
