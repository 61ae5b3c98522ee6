"""Reads shard directories: memory-mapped token streams, their documents, and where each came from.

A source's shards form one stream of tokens, closed into a ring: a window that runs past the end continues at
the start, as another document. Dims: B rows, L window length.
"""

from __future__ import annotations

import itertools
import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lm.common import buckets, manifest
from lm.common.errors import UserError

# Each open shard holds two file handles, and some systems allow a process no more than 256.
_OPEN_SHARDS = 96


class _Maps:
    """The memory maps of a directory's shards, opened on use; all are dropped when pickled."""

    def __init__(self, directory: Path, dtype: np.dtype) -> None:
        self._directory, self.dtype = directory, dtype
        self._open: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __getitem__(self, stem: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns a shard's tokens, and its documents' cumulative ends as int64."""
        maps = self._open.get(stem)
        if maps is None:
            # Ends are written unsigned; read signed, or numpy would compare them with signed offsets as floats.
            maps = self._map(f"{stem}.bin", self.dtype), self._map(f"{stem}-ends.bin", np.dtype("<i8"))
            if len(self._open) >= _OPEN_SHARDS:
                # The newest goes: batches visit the shards in turn, and with the oldest gone none would ever be there.
                self._open.popitem()
            self._open[stem] = maps
        return maps

    def _map(self, name: str, dtype: np.dtype) -> np.ndarray:
        # Not np.memmap, which takes ten times as long to open: what counts where shards outnumber open ones.
        with open(f"{self._directory}/{name}", "rb") as stream:
            return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype)


class TokenSource:
    """One source of one split: its token stream and its documents. Safe to use from several threads."""

    def __init__(self, directory: Path, name: str, stems: list[str], sizes: dict[str, int], maps: _Maps) -> None:
        self.name = name
        self._directory, self._stems, self._maps = directory, stems, maps
        tokens = [sizes[f"{stem}.bin"] // maps.dtype.itemsize for stem in stems]
        documents = [sizes[f"{stem}-ends.bin"] // 8 for stem in stems]
        self._first_token = np.cumsum([0, *tokens], dtype=np.int64)  # of each shard, and of none after the last
        self._first_document = np.cumsum([0, *documents], dtype=np.int64)

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the stream, control tokens included."""
        return int(self._first_token[-1])

    @property
    def n_documents(self) -> int:
        """Number of documents that have tokens."""
        return int(self._first_document[-1])

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
        for shard, rows in _groups(shard_B, np.flatnonzero(whole_B)):
            offset_R = start_B[rows] - self._first_token[shard]
            tokens, ends = self._maps[self._stems[shard]]
            # Every window of the shard as a row of an overlapping view: rows are then copied whole.
            shape, strides = (len(tokens) - length + 1, length), tokens.strides * 2
            token_BL[rows] = np.ndarray(shape, tokens.dtype, tokens, strides=strides)[offset_R]
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
            tokens, ends = self._maps[self._stems[shard]]
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
        return {
            **row,
            "shard": f"{self._stems[shard]}.bin",
            "offset": int(self._maps[self._stems[shard]][1][local]) - row["tokens"],
        }

    def where(self, start: int) -> tuple[str, int]:
        """Returns the shard file that holds a token of the stream, and its offset there in tokens."""
        shard, offset = self._locate(start)
        return f"{self._stems[shard]}.bin", offset

    def _locate(self, start: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._first_token, start, side="right") - 1)
        return shard, start - int(self._first_token[shard])


def _groups(shard_B: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each shard that some of `rows` lie in, with those rows."""
    rows = rows[np.argsort(shard_B[rows], kind="stable")]
    shards, first = np.unique(shard_B[rows], return_index=True)
    for shard, start, stop in zip(shards.tolist(), first, np.append(first, len(rows))[1:], strict=True):
        yield shard, rows[start:stop]


def _documents(ends: np.ndarray, offset_R: np.ndarray, length: int) -> np.ndarray:
    """Returns the document of every token of windows that lie within one shard, int64 [R, L]."""
    first_R = ends.searchsorted(offset_R, side="right")
    last_R = ends.searchsorted(offset_R + (length - 1), side="right")
    count_R = last_R - first_R + 1
    row_of_run = np.arange(len(offset_R)).repeat(count_R)
    document_of_run = np.arange(len(row_of_run)) - (count_R.cumsum() - count_R - first_R).repeat(count_R)
    end_of_run = np.minimum(ends[document_of_run] - offset_R[row_of_run], length) + row_of_run * length
    size_of_run = end_of_run.copy()
    size_of_run[1:] -= end_of_run[:-1]
    return document_of_run.repeat(size_of_run).reshape(len(offset_R), length)


class Shards:
    """A finished shard directory; `Shards.open(directory)` checks that every file is there and whole.

    Attributes:
        directory: where the files are on this disk.
        address: where they come from: the same, or one in a bucket.
    """

    def __init__(self, directory: Path, made: manifest.Manifest, address: str = "") -> None:
        self.directory, self.manifest = directory, made
        self.address = address or str(directory.absolute())
        self.vocab_size: int = made.counts["vocab_size"]
        self._counts: dict[str, dict[str, dict[str, Any]]] = made.counts["splits"]
        self._sizes = {entry.name: entry.bytes for entry in made.files}
        self._maps = _Maps(directory, np.dtype(made.counts["dtype"]))

    @classmethod
    def open(cls, directory: str | Path) -> Shards:
        """Opens a directory that `lm shard` finished; from a bucket it is fetched first, once.

        Raises:
            UserError: there is none, it was made by another stage, or one of its files is missing or truncated.
        """
        if buckets.is_bucket(directory):
            here = buckets.fetched(str(directory))
            return cls(here, manifest.read(here, "shard"), str(directory))
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
        stems = self._counts[split][name]["files"]
        return TokenSource(self.directory, name, stems, self._sizes, self._maps)

    def n_tokens(self, split: str) -> int:
        """Returns the number of tokens in a split."""
        return sum(source.n_tokens for source in self.sources(split))

    def bytes_per_token(self, split: str, weights: Mapping[str, float] | None = None) -> float:
        """Returns UTF-8 bytes of text per token of a split, control tokens counted among the tokens.

        `weights` are each source's share of the tokens, in any unit, 0 where left out; None takes every token once.
        """
        counts = {source.name: self._counts[split][source.name] for source in self.sources(split)}
        share = {name: weights.get(name, 0.0) if weights else float(c["tokens"]) for name, c in counts.items()}
        return sum(share[name] * c["bytes"] / c["tokens"] for name, c in counts.items()) / sum(share.values())
