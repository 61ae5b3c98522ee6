"""Writes shard directories: flat token files, where each document ends, and what each document was.

For every shard of every source: `STEM.bin` holds tokens (little-endian, 16 bits if the vocabulary fits, else 32),
`STEM-ends.bin` the cumulative number of tokens at each document's end (64 bits), `STEM-docs.jsonl` a line a
document: id, source, tokens, bytes. A document lies whole in one shard. The manifest is written last.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.progress import Progress, quantity
from lm.data import tokenizer as tokenizers
from lm.data.readers import Document
from lm.data.readers.tokens import TokenDocument
from lm.data.shards.encode import Encoder, Piece

SHARD_TOKENS = 100_000_000
_NAME = re.compile(r"[A-Za-z0-9_.]+")
_STALE = re.compile(r"-\d{5,}-[0-9a-f]{8}(\.bin|-ends\.bin|-docs\.jsonl)$")


def write_shards(
    splits: Mapping[str, Mapping[str, Iterable[Document]]],
    tokenizer_dir: Path,
    output: Path,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    bos: bool,
    eos: bool,
    shard_tokens: int = SHARD_TOKENS,
    workers: int = 0,
) -> manifest.Manifest:
    """Tokenizes `splits[split][source]` into `output`, and returns its manifest.

    `bos` and `eos` put a control token before and after each document; `shard_tokens` is the size at which a shard
    is closed; `workers` processes tokenize (0: all cores). The output's bytes do not depend on `workers`.

    Raises:
        UserError: a name unfit for a file, a document that is not valid Unicode, or a source without any text.
    """
    with Encoder(tokenizer_dir, workers) as encoder:
        layout = _Layout.of(encoder.tokenizer, output, bos=bos, eos=eos, shard_tokens=shard_tokens)
        return _write(splits, encoder.encode, layout, tokenizer_dir, config=config, inputs=inputs)


def write_token_shards(
    splits: Mapping[str, Mapping[str, Iterable[TokenDocument]]],
    tokenizer_dir: Path,
    output: Path,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    bos: bool = False,
    eos: bool = False,
    shard_tokens: int = SHARD_TOKENS,
) -> manifest.Manifest:
    """Writes documents that are tokens already, made with the tokenizer in `tokenizer_dir`; else as `write_shards`.

    Raises:
        UserError: a name unfit for a file, a token outside of the vocabulary, or a source without any tokens.
    """
    tokenizer = tokenizers.load(tokenizer_dir)
    layout = _Layout.of(tokenizer, output, bos=bos, eos=eos, shard_tokens=shard_tokens)
    bytes_V = tokenizer.token_bytes()

    def pieces(documents: Iterable[TokenDocument]) -> Iterator[Piece]:
        for document in documents:
            tokens = np.asarray(document.tokens)
            if (strange := tokens[(tokens < 0) | (tokens >= tokenizer.vocab_size)]).size:
                raise UserError(
                    f"{document.source}: document {document.id} has token {strange[0]}, but {tokenizer_dir} knows 0 to "
                    f"{tokenizer.vocab_size - 1}; give the tokenizer that made these tokens"
                )
            yield Piece(document.id, document.source, tokens, int(bytes_V[tokens].sum()), last=True)

    return _write(splits, pieces, layout, tokenizer_dir, config=config, inputs=inputs)


@dataclass(frozen=True)
class _Layout:
    """What all shards of an output share, and the files written so far."""

    output: Path
    vocab_size: int
    before: np.ndarray  # control tokens before each document
    after: np.ndarray
    shard_tokens: int
    attempt: str = field(default_factory=manifest.attempt_id)
    files: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, tokenizer: tokenizers.Tokenizer, output: Path, *, bos: bool, eos: bool, shard_tokens: int) -> _Layout:
        dtype = "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"
        before = np.array([tokenizer.bos_id] if bos else [], dtype)
        after = np.array([tokenizer.eos_id] if eos else [], dtype)
        return cls(output, tokenizer.vocab_size, before, after, shard_tokens)

    @property
    def dtype(self) -> np.dtype:
        return self.before.dtype

    def create(self, name: str) -> BinaryIO:
        """Opens a new file of this attempt."""
        path = self.output / name
        self.files.append(path)
        return path.open("xb")


class _SourceWriter:
    """Appends one source's documents to its shards, closing a shard when it is full."""

    def __init__(self, layout: _Layout, split: str, name: str) -> None:
        self._layout, self._prefix = layout, f"{split}-{name}"
        self._tokens_file: BinaryIO | None = None
        self._rows: list[bytes] = []
        self._ends = array.array("Q")
        self._shard_tokens = self._document_tokens = self._document_bytes = 0
        self.stems: list[str] = []
        self.documents = self.empty = self.tokens = self.bytes = 0

    def add(self, piece: Piece) -> int:
        """Writes a piece of a document and returns how many tokens that put down, control tokens included."""
        put = 0
        if piece.tokens.size:
            assert int(piece.tokens.max()) < self._layout.vocab_size
            if not self._document_tokens:
                put += self._put(self._layout.before)
            put += self._put(piece.tokens)
        self._document_bytes += piece.bytes
        if piece.last and self._document_tokens:
            put += self._put(self._layout.after)
            self._end_document(piece)
        elif piece.last:
            self.empty += 1
            self._document_bytes = 0
        return put

    def _put(self, tokens: np.ndarray) -> int:
        if self._tokens_file is None:
            self.stems.append(f"{self._prefix}-{len(self.stems):05d}-{self._layout.attempt}")
            self._tokens_file = self._layout.create(f"{self.stems[-1]}.bin")
        self._tokens_file.write(tokens.astype(self._layout.dtype, copy=False).tobytes())
        self._document_tokens += tokens.size
        return tokens.size

    def _end_document(self, piece: Piece) -> None:
        row = {"id": piece.id, "source": piece.source, "tokens": self._document_tokens, "bytes": self._document_bytes}
        self._rows.append(json.dumps(row).encode() + b"\n")
        self._shard_tokens += self._document_tokens
        self._ends.append(self._shard_tokens)
        self.documents += 1
        self.tokens += self._document_tokens
        self.bytes += self._document_bytes
        self._document_tokens = self._document_bytes = 0
        if self._shard_tokens >= self._layout.shard_tokens:
            self.close_shard()

    def close_shard(self) -> None:
        """Finishes the open shard, if there is one: everything on disk before the manifest can name it."""
        if self._tokens_file is None:
            return
        stem = self.stems[-1]
        for stream, content in (
            (self._tokens_file, b""),
            (self._layout.create(f"{stem}-ends.bin"), np.array(self._ends, "<u8").tobytes()),
            (self._layout.create(f"{stem}-docs.jsonl"), b"".join(self._rows)),
        ):
            with stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        self._tokens_file, self._shard_tokens = None, 0
        self._rows.clear()
        del self._ends[:]

    def abandon(self) -> None:
        """Closes the open file, if there is one, whatever is in it."""
        if self._tokens_file is not None:
            with contextlib.suppress(OSError):  # closing flushes, and the disk may be what failed
                self._tokens_file.close()

    def counts(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "empty": self.empty,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "files": self.stems,
        }


def _write(
    splits: Mapping[str, Mapping[str, Iterable[Any]]],
    pieces: Callable[[Iterable[Any]], Iterator[Piece]],
    layout: _Layout,
    tokenizer_dir: Path,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> manifest.Manifest:
    for split, sources in splits.items():
        if bad := [name for name in (split, *sources) if not _NAME.fullmatch(name)]:
            raise UserError(f"data sources: {bad[0]!r} cannot name a file; use letters, digits, dots and underscores")
    layout.output.mkdir(parents=True, exist_ok=True)
    try:
        counts = {
            split: {name: _write_source(layout, split, name, pieces, documents) for name, documents in sources.items()}
            for split, sources in splits.items()
        }
        if not any(source["tokens"] for sources in counts.values() for source in sources.values()):
            raise UserError("data sources: no document in any of them; point data.path at some text")
        # From here on this attempt replaces an earlier one, whose tokenizer is about to be overwritten.
        (layout.output / manifest.NAME).unlink(missing_ok=True)
        _copy_tokenizer(layout, tokenizer_dir)
        made = manifest.write(
            layout.output,
            stage="shard",
            config=config,
            inputs=inputs,
            counts={
                "vocab_size": layout.vocab_size,
                "dtype": layout.dtype.str,
                "bos": bool(layout.before.size),
                "eos": bool(layout.after.size),
                "splits": counts,
            },
            files=layout.files,
        )
    except BaseException:
        _remove(layout.files)
        raise
    _remove(path for path in layout.output.iterdir() if _STALE.search(path.name) and path not in layout.files)
    return made


def _write_source(
    layout: _Layout, split: str, name: str, pieces: Callable[[Iterable[Any]], Iterator[Piece]], documents: Iterable[Any]
) -> dict[str, Any]:
    writer = _SourceWriter(layout, split, name)
    size = documents.size_bytes() if hasattr(documents, "size_bytes") else 0
    read = 0
    try:
        with Progress(f"tokenize {split}/{name}", unit="tokens") as progress:
            for piece in pieces(documents):
                put = writer.add(piece)
                read += piece.bytes
                if read:  # the tokens to come, were the rest like what was read
                    progress.total = max(progress.done + put, round((progress.done + put) * size / read))
                progress.advance(put, note=f"{quantity(read)}B")
            progress.total = progress.done
        writer.close_shard()
    finally:
        writer.abandon()
    if writer.empty and not writer.documents:
        raise UserError(
            f"data sources: {split}/{name}: all {writer.empty} documents are empty; give documents with text"
        )
    return writer.counts()


def _copy_tokenizer(layout: _Layout, tokenizer_dir: Path) -> None:
    target = layout.output / "tokenizer"
    target.mkdir(exist_ok=True)
    for name in [entry.name for entry in manifest.read(tokenizer_dir, "tokenizer").files] + [manifest.NAME]:
        layout.files.append(target / name)
        shutil.copyfile(tokenizer_dir / name, target / name)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)
