"""The tensors of a checkpoint in safetensors, in one file or several: known by name, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lm.common.errors import UserError
from lm.convert.hf.settings import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Stored:
    """What a file says of one tensor: where it is, its shape and its dtype, by code where it is no plain float."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


class Tensors:
    """The tensors of a directory by name; a context manager, since files stay open."""

    def __init__(self, directory: Path) -> None:
        """Opens every file and reads what it holds, but no tensor.

        Raises:
            UserError: no safetensors, or a file that is missing, truncated or damaged.
        """
        self._stack = ExitStack()
        self._handles: dict[Path, Any] = {}
        try:
            self.entries = dict(self._entries(directory))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Tensors:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, name: str) -> np.ndarray:
        """Returns a tensor as float32.

        Raises:
            UserError: it holds a NaN or an infinity.
        """
        stored = self.entries[name]
        array = self._handles[stored.file].get_tensor(name).astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            what = "NaN" if np.isnan(array).any() else "an infinity"
            raise UserError(f"{stored.file}: {name} holds {what}; copy the file again from where it is from")
        return array

    def _entries(self, directory: Path) -> Iterator[tuple[str, Stored]]:
        expected = _files(directory)
        for path, promised in expected.items():
            handle = self._open(path)
            held = set(handle.keys())
            if absent := sorted(promised - held):
                raise UserError(f"{path}: {INDEX} says it holds {', '.join(absent[:3])}, which it does not")
            for name in sorted(held):
                facts = handle.get_slice(name)
                yield name, Stored(path, tuple(facts.get_shape()), DTYPES.get(code := facts.get_dtype(), code))

    def _open(self, path: Path) -> Any:
        try:
            handle = self._stack.enter_context(safe_open(path, framework="numpy"))
        except FileNotFoundError as error:
            raise UserError(f"{path}: missing, though {INDEX} names it; copy the whole checkpoint") from error
        except SafetensorError as error:
            raise UserError(
                f"{path}: truncated, or no safetensors ({error}); copy the file again from where it is from"
            ) from error
        self._handles[path] = handle
        return handle


def _files(directory: Path) -> dict[Path, set[str]]:
    """Returns the files that hold the tensors, each with the names that the index says are in it."""
    if (index := directory / INDEX).is_file():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise UserError(f"{index}: has no weight_map; copy it again from where it is from")
        files = {directory / name: set[str]() for name in places.values()}
        for name, file in places.items():
            files[directory / file].add(name)
        return files
    if (single := directory / SINGLE).is_file():
        return {single: set()}
    if other := sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern)):
        raise UserError(
            f"{directory / other[0]}: pickled weights are not read, since loading them runs code; load it in "
            "transformers and save it with save_pretrained(DIR, safe_serialization=True)"
        )
    if parts := sorted(directory.glob("*.safetensors")):
        raise UserError(f"{directory}: has {parts[0].name} but neither {SINGLE} nor {INDEX}; copy the whole checkpoint")
    raise UserError(f"{directory}: no {SINGLE} or {INDEX} here; name a directory in Hugging Face's format")
