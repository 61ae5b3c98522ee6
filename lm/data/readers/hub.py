"""Datasets on the Hugging Face hub, streamed: nothing is downloaded before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.readers.base import Document

PREFIX = "hf://"
_FORM = "hf://datasets/NAME[:split][?config=…&revision=…]"


def open_dataset(path: str, text_key: str) -> HubDocuments:
    """Opens `hf://datasets/NAME[:split][?config=…&revision=…]`; the split is `train` unless given.

    Raises:
        UserError: another form of path.
    """
    location, _, query = path.removeprefix(PREFIX).partition("?")
    dataset, _, split = location.removeprefix("datasets/").partition(":")
    options = dict(parse_qsl(query))
    if not location.startswith("datasets/") or not dataset or options.keys() - {"config", "revision"}:
        raise UserError(f"{path}: expected {_FORM}")
    return HubDocuments(path, dataset, split or "train", options.get("config"), options.get("revision"), text_key)


@dataclass(frozen=True)
class HubDocuments:
    """One split of a dataset; ids are `split:row`. Every pass reads it over the network again."""

    name: str
    dataset: str
    split: str
    config: str | None
    revision: str | None
    text_key: str

    def __iter__(self) -> Iterator[Document]:
        for index, row in enumerate(self._rows()):
            where = f"{self.split}:{index}"
            if not isinstance(text := row.get(self.text_key), str):
                found = f"is {type(text).__name__}, not a string" if self.text_key in row else "is not there"
                raise UserError(f"{self.name}: row {where}: {self.text_key!r} {found}; columns: {', '.join(row)}")
            yield Document(where, text, self.name)

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            import datasets
        except ImportError as error:
            raise UserError(f"{self.name}: needs datasets; pip install 'lm[hub]'") from error
        try:
            yield from datasets.load_dataset(
                self.dataset, self.config, split=self.split, revision=self.revision, streaming=True
            )
        except Exception as error:  # which class a missing name, split or network has depends on the release
            raise UserError(
                f"{self.name}: cannot be read ({_reason(error)}); check name, split, config, network"
            ) from error

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the dataset's current commit on the hub, the split and the key.

        Raises:
            UserError: the hub cannot be asked.
        """
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise UserError(f"{self.name}: needs datasets; pip install 'lm[hub]'") from error
        try:
            commit = HfApi().dataset_info(self.dataset, revision=self.revision).sha
        except Exception as error:  # as above
            raise UserError(f"{self.name}: the hub cannot be asked ({_reason(error)}); check name, network") from error
        return manifest.fingerprint([self.dataset, self.config, self.split, self.text_key, commit])

    def size_bytes(self) -> int:
        """Returns 0: a stream does not say."""
        return 0

    def describe(self) -> str:
        """Returns one line: what is streamed."""
        return f"{self.name}: split {self.split}, streamed"


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
