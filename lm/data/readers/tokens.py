"""Token files made elsewhere: nanoGPT and llm.c `.bin`, Megatron `.bin`/`.idx`, Arrow and parquet columns."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lm.common.errors import UserError
from lm.data.readers import code, tables
from lm.data.readers.base import File, FileDocuments, Read, TokenDocument, TokenDocuments
from lm.data.readers.files import existing

__all__ = ["FORMATS", "TokenDocument", "TokenDocuments", "open_token_documents"]

FORMATS = ("nanogpt", "megatron", "arrow_tokens")
_SCAN_TOKENS = 1 << 22
# llm.c: 256 int32, of which the first three are magic, version and number of tokens.
_HEADER_BYTES = 256 * 4
_HEADER_DTYPES: dict[tuple[int, int], np.dtype] = {(20240520, 1): np.dtype("<u2"), (20240801, 7): np.dtype("<u4")}
_MEGATRON_MAGIC, _MEGATRON_VERSION = b"MMIDIDX\x00\x00", 1
_MEGATRON_HEAD = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, document bounds
_MEGATRON_DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}


def open_token_documents(
    path: str, *, format: str, token_key: str = "input_ids", end_id: int | None = None
) -> TokenDocuments:
    """Opens a token file, a folder of them, or (Megatron) a pair by its prefix, `.bin` or `.idx`.

    A file's own records are the documents: a nanoGPT file is one, a Megatron file holds its documents, a
    table its rows. Given `end_id`, they are also cut at each such id, which belongs to neither side; pieces
    without tokens are left out, and a piece that begins `k` tokens into its record has the id `record+k`.

    Raises:
        UserError: an unknown format, a missing or empty path; while iterating, damaged files, negative ids.
    """
    if end_id is not None and end_id < 0:
        raise UserError(f"end_id={end_id}: token ids are not negative; give None if no id marks the ends")
    readers: dict[str, tuple[tuple[str, ...], Read[np.ndarray]]] = {
        "nanogpt": ((".bin",), ReadNanogpt(end_id)),
        "megatron": ((".idx",), ReadMegatron(end_id)),
        "arrow_tokens": (tables.PARQUET_SUFFIXES + tables.ARROW_SUFFIXES, ReadTokenTable(token_key, end_id)),
    }
    if format not in readers:
        raise UserError(f"format={format}: unknown token format; one of {', '.join(FORMATS)}")
    suffixes, read = readers[format]
    root = existing(_index_path(path) if format == "megatron" else path)
    if not root.is_dir():
        return FileDocuments(path, (_file(root, root.name, read),), TokenDocument)
    skipped: Counter[str] = Counter()
    files = []
    for file in code.walk(root, frozenset(), skipped):
        if file.suffix.lower() in suffixes:
            files.append(_file(file, file.relative_to(root).as_posix(), read))
        elif not (format == "megatron" and file.suffix == ".bin"):
            skipped["of another format"] += 1
    if not files:
        raise UserError(f"{path}: no file ends in {' or '.join(suffixes)}; give another folder or format")
    return FileDocuments(path, tuple(files), TokenDocument, dict(skipped))


def _index_path(path: str) -> str:
    """Returns the `.idx` of a Megatron pair, or the path itself if it is a folder."""
    if Path(path).expanduser().is_dir() or path.endswith(".idx"):
        return path
    return path.removesuffix(".bin") + ".idx"


def _file(path: Path, id: str, read: Read[np.ndarray]) -> File[np.ndarray]:
    if isinstance(read, ReadMegatron):
        data = path.with_suffix(".bin")
        if not data.is_file():
            raise UserError(f"{path}: its tokens, {data.name}, are missing; put both files into one folder")
        return File(path, id, read, companions=(data,))
    return File(path, id, read)


@dataclass(frozen=True)
class ReadNanogpt:
    """Reads raw uint16 tokens (nanoGPT), or those after llm.c's header (uint16, or uint32 of its Llama 3 version)."""

    end_id: int | None = None

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, np.ndarray]]:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = np.frombuffer(stream.read(12).ljust(12, b"\0"), "<i4")
        dtype: np.dtype = np.dtype("<u2")
        offset = 0
        known_magic = int(head[0]) in {magic for magic, _ in _HEADER_DTYPES}
        if known_magic and size >= _HEADER_BYTES:
            version, count = int(head[1]), int(head[2])
            if (int(head[0]), version) not in _HEADER_DTYPES:
                raise UserError(f"{path}: header version {version} of {head[0]} is not known; write the file again")
            dtype, offset = _HEADER_DTYPES[int(head[0]), version], _HEADER_BYTES
            if size != offset + count * dtype.itemsize:
                found = (size - offset) / dtype.itemsize
                raise UserError(f"{path}: header says {count} tokens, the file holds {found:g}; copy it again")
        if (size - offset) % dtype.itemsize:
            raise UserError(
                f"{path}: {size} bytes are no whole number of uint16 tokens; not a nanoGPT file, or cut off"
            )
        if size > offset:
            yield from _cut(id, np.memmap(path, dtype, "r", offset), self.end_id, path)


@dataclass(frozen=True)
class ReadMegatron:
    """Reads an index and its token file; ids are `file.idx:document`, of all the document's sequences."""

    end_id: int | None = None

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, np.ndarray]]:
        dtype, lengths, pointers, bounds = _megatron_index(path)
        data_path = path.with_suffix(".bin")
        size = data_path.stat().st_size
        ends = pointers + lengths.astype(np.int64) * dtype.itemsize
        if len(ends) and int(ends.max()) > size:
            raise UserError(
                f"{data_path}: {size} bytes, but {path.name} needs {int(ends.max())}; copy both files again"
            )
        data = np.memmap(data_path, np.uint8, "r") if size else np.empty(0, np.uint8)
        for index, (first, stop) in enumerate(pairwise(bounds)):
            pieces = [data[pointers[i] : ends[i]].view(dtype) for i in range(first, stop)]
            tokens = pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, dtype), *pieces])
            yield from _cut(f"{id}:{index}", tokens, self.end_id, path)


def _megatron_index(path: Path) -> tuple[np.dtype, np.ndarray, np.ndarray, np.ndarray]:
    """Returns token type, lengths [n] and byte offsets [n] of sequences, and document bounds [m + 1] among them."""
    raw = path.read_bytes()
    if len(raw) < _MEGATRON_HEAD.size or not raw.startswith(_MEGATRON_MAGIC):
        raise UserError(f"{path}: not a Megatron index (it must begin with MMIDIDX); give the .idx of a .bin/.idx pair")
    _, version, dtype_code, n_sequences, n_bounds = _MEGATRON_HEAD.unpack_from(raw)
    if version != _MEGATRON_VERSION:
        raise UserError(f"{path}: index version {version}; only {_MEGATRON_VERSION} is known, make it again")
    if dtype_code not in _MEGATRON_DTYPES:
        raise UserError(f"{path}: token type code {dtype_code}; known are 1 to {max(_MEGATRON_DTYPES)}, make it again")
    needed = _MEGATRON_HEAD.size + n_sequences * 12 + n_bounds * 8
    if len(raw) < needed:
        raise UserError(f"{path}: {len(raw)} bytes of an index of {needed}; copy it again")
    lengths = np.frombuffer(raw, "<i4", n_sequences, _MEGATRON_HEAD.size)
    pointers = np.frombuffer(raw, "<i8", n_sequences, _MEGATRON_HEAD.size + n_sequences * 4)
    bounds = np.frombuffer(raw, "<i8", n_bounds, _MEGATRON_HEAD.size + n_sequences * 12)
    in_order = n_bounds > 0 and bounds[0] == 0 and bounds[-1] == n_sequences and bool((np.diff(bounds) >= 0).all())
    if not in_order or (lengths < 0).any() or (pointers < 0).any():
        raise UserError(
            f"{path}: document bounds and {n_sequences} sequences do not fit together; make the index again"
        )
    return np.dtype(_MEGATRON_DTYPES[dtype_code]), lengths, pointers, bounds


@dataclass(frozen=True)
class ReadTokenTable:
    """Reads a column of integer lists; ids are those of the text tables."""

    token_key: str = "input_ids"
    end_id: int | None = None

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, np.ndarray]]:
        parquet = path.suffix.lower() in tables.PARQUET_SUFFIXES
        for group, first, array in (tables.parquet_batches if parquet else tables.arrow_batches)(path, self.token_key):
            if not tables.is_integer_lists(array):
                raise UserError(f"{path}: column {self.token_key!r} is {array.type}, not lists of integers")
            for row, scalar in enumerate(array, start=first):
                where = f"{group}:{row}"
                if scalar.values is None or scalar.values.null_count:
                    raise UserError(f"{path}:{where}: {self.token_key!r} is null or holds a null; drop such rows")
                yield from _cut(f"{id}:{where}", scalar.values.to_numpy(zero_copy_only=False), self.end_id, path)


def _cut(id: str, tokens: np.ndarray, end_id: int | None, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a record whole, or its non-empty pieces between the end ids, after checking type and sign."""
    if tokens.dtype.kind not in "ui":
        raise UserError(f"{path}: tokens are {tokens.dtype}; ids must be integers, write the file again as integers")
    if tokens.dtype.kind == "i" and tokens.size and tokens.min() < 0:
        at = int(np.argmax(tokens < 0))
        raise UserError(f"{path}: record {id}: token {at} is {tokens[at]}; ids are not negative, drop padding first")
    if end_id is None:
        yield id, tokens
        return
    start = 0
    for low in range(0, len(tokens), _SCAN_TOKENS):
        for end in (np.flatnonzero(tokens[low : low + _SCAN_TOKENS] == end_id) + low).tolist():
            if end > start:
                yield (f"{id}+{start}" if start else id), tokens[start:end]
            start = end + 1
    if len(tokens) > start:
        yield (f"{id}+{start}" if start else id), tokens[start:]
