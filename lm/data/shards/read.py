"""Reads shard directories: memory-mapped token streams, their documents, and where each came from.

A source's shards form one stream of tokens, closed into a ring: a window that runs past the end continues at
the start, as another document. Dims: B rows, L window length.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError

# Each open shard holds two file handles, and some systems allow a process no more than 256.
_OPEN_SHARDS = 16


class TokenSource:
    """One source of one split: its token stream and its documents.

    Safe to use from several threads; when pickled it drops its memory maps, which reopen on use.
    """

    def __init__(self, directory: Path, name: str, stems: list[str], sizes: dict[str, int], dtype: np.dtype) -> None:
        self.name = name
        self._directory, self._stems, self._dtype = directory, stems, dtype
        tokens = [sizes[f"{stem}.bin"] // dtype.itemsize for stem in stems]
        documents = [sizes[f"{stem}-ends.bin"] // 8 for stem in stems]
        self._first_token = np.cumsum([0, *tokens], dtype=np.int64)  # of each shard, and of none after the last
        self._first_document = np.cumsum([0, *documents], dtype=np.int64)
        self._maps: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the stream, control tokens included."""
        return int(self._first_token[-1])

    @property
    def n_documents(self) -> int:
        """Number of documents that have tokens."""
        return int(self._first_document[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def __repr__(self) -> str:
        return f"TokenSource({self.name}, stems={self._stems})"

    def gather(self, start_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns `length` tokens from each int64 start in [0, n_tokens): tokens int32 and document int64, both [B, L].

        Past the end of the stream documents are numbered on from `n_documents`, so that a window that wraps
        into the very document it left still sees a boundary there.
        """
        token_BL = np.empty((len(start_B), length), np.int32)
        document_BL = np.empty((len(start_B), length), np.int64)
        shard_B = np.searchsorted(self._first_token, start_B, side="right") - 1
        whole_B = start_B + length <= self._first_token[shard_B + 1]
        for shard in np.unique(shard_B[whole_B]):
            rows = np.flatnonzero(whole_B & (shard_B == shard))
            offset_R = start_B[rows] - self._first_token[shard]
            tokens, ends = self._map(int(shard))
            token_BL[rows] = np.lib.stride_tricks.sliding_window_view(tokens, length)[offset_R]
            document_BL[rows] = _documents(ends, offset_R, length) + self._first_document[shard]
        for row in np.flatnonzero(~whole_B):
            self._gather_across(int(start_B[row]), token_BL[row], document_BL[row])
        return token_BL, document_BL

    def _gather_across(self, start: int, token_L: np.ndarray, document_L: np.ndarray) -> None:
        """Fills one window that crosses from shard to shard, or from the end of the stream to its start."""
        done = 0
        while done < len(token_L):
            turn, position = divmod(start + done, self.n_tokens)
            shard, offset = self._locate(position)
            tokens, ends = self._map(shard)
            size = min(len(token_L) - done, len(tokens) - offset)
            piece = slice(done, done + size)
            token_L[piece] = tokens[offset : offset + size]
            first_document = turn * self.n_documents + self._first_document[shard]
            document_L[piece] = _documents(ends, np.array([offset]), size)[0] + first_document
            done += size

    def document(self, index: int) -> dict[str, Any]:
        """Returns what is known of a document: id, source, tokens, bytes, its shard and first token's offset there."""
        index %= self.n_documents
        shard = int(np.searchsorted(self._first_document, index, side="right") - 1)
        local = int(index - self._first_document[shard])
        with (self._directory / f"{self._stems[shard]}-docs.jsonl").open(encoding="utf-8") as lines:
            row = json.loads(next(itertools.islice(lines, local, None)))
        return {**row, "shard": f"{self._stems[shard]}.bin", "offset": int(self._map(shard)[1][local]) - row["tokens"]}

    def where(self, start: int) -> tuple[str, int]:
        """Returns the shard file that holds a token of the stream, and its offset there in tokens."""
        shard, offset = self._locate(start)
        return f"{self._stems[shard]}.bin", offset

    def _locate(self, start: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._first_token, start, side="right") - 1)
        return shard, start - int(self._first_token[shard])

    def _map(self, shard: int) -> tuple[np.ndarray, np.ndarray]:
        maps = self._maps.get(shard)
        if maps is None:
            stem = self._directory / self._stems[shard]
            # Ends are written unsigned; read signed, or numpy would compare them with signed offsets as floats.
            maps = np.memmap(f"{stem}.bin", self._dtype, "r"), np.memmap(f"{stem}-ends.bin", "<i8", "r")
            for oldest in list(self._maps)[: len(self._maps) + 1 - _OPEN_SHARDS]:
                self._maps.pop(oldest, None)
            self._maps[shard] = maps
        return maps


def _documents(ends: np.ndarray, offset_R: np.ndarray, length: int) -> np.ndarray:
    """Returns the document of every token of windows that lie within one shard, int64 [R, L]."""
    first_R = np.searchsorted(ends, offset_R, side="right")
    last_R = np.searchsorted(ends, offset_R + length - 1, side="right")
    count_R = last_R - first_R + 1
    row_of_run = np.repeat(np.arange(len(offset_R)), count_R)
    document_of_run = np.arange(len(row_of_run)) - np.repeat(np.cumsum(count_R) - count_R - first_R, count_R)
    end_of_run = np.minimum(ends[document_of_run] - offset_R[row_of_run], length) + row_of_run * length
    return np.repeat(document_of_run, np.diff(end_of_run, prepend=0)).reshape(len(offset_R), length)


class Shards:
    """A finished shard directory; `Shards.open(directory)` checks that every file is there and whole."""

    def __init__(self, directory: Path, made: manifest.Manifest) -> None:
        self.directory, self.manifest = directory, made
        self.vocab_size: int = made.counts["vocab_size"]
        self._counts: dict[str, dict[str, dict[str, Any]]] = made.counts["splits"]
        self._sizes = {entry.name: entry.bytes for entry in made.files}

    @classmethod
    def open(cls, directory: str | Path) -> Shards:
        """Opens a directory that `lm shard` finished.

        Raises:
            UserError: there is none, it was made by another stage, or one of its files is missing or truncated.
        """
        return cls(Path(directory), manifest.read(Path(directory), "shard"))

    @property
    def tokenizer_dir(self) -> Path:
        """The tokenizer that made the tokens."""
        return self.directory / "tokenizer"

    @property
    def splits(self) -> dict[str, list[str]]:
        """Each split that has tokens, with the sorted names of its sources that have some."""
        named = {split: sorted(s for s, c in sources.items() if c["tokens"]) for split, sources in self._counts.items()}
        return {split: names for split, names in named.items() if names}

    def sources(self, split: str) -> list[TokenSource]:
        """Returns a split's sources that have tokens, by name.

        Raises:
            UserError: no such split, or it is empty.
        """
        if split not in self.splits:
            raise UserError(f"{self.directory}: no tokens in split {split!r}; it has {', '.join(self.splits)}")
        return [self.source(split, name) for name in self.splits[split]]

    def source(self, split: str, name: str) -> TokenSource:
        """Returns one source of one split.

        Raises:
            UserError: no such split or source.
        """
        if name not in self._counts.get(split, {}):
            known = ", ".join(f"{s}/{n}" for s, names in self.splits.items() for n in names)
            raise UserError(f"{self.directory}: no source {split}/{name}; it has {known}")
        dtype = np.dtype(self.manifest.counts["dtype"])
        return TokenSource(self.directory, name, self._counts[split][name]["files"], self._sizes, dtype)

    def n_tokens(self, split: str) -> int:
        """Returns the number of tokens in a split."""
        return sum(source.n_tokens for source in self.sources(split))

    def bytes_per_token(self, split: str) -> float:
        """Returns UTF-8 bytes of text per token of a split, control tokens counted among the tokens."""
        counts = [self._counts[split][source.name] for source in self.sources(split)]
        return sum(c["bytes"] for c in counts) / sum(c["tokens"] for c in counts)
