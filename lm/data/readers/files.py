"""One door to all text: picks the reader by prefix, by format or by suffix, for a file or a whole folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lm.common.errors import UserError
from lm.data.readers import builtin, code, compressed, curated, hub, jsonl, tables, text
from lm.data.readers.base import Document, Documents, File, FileDocuments, Read

FORMATS = ("auto", "txt", "jsonl", "parquet", "arrow", "code", "hf", "builtin")
_PREFIXES = {"hf": hub.PREFIX, "builtin": builtin.PREFIX}


def open_documents(path: str, *, format: str = "auto", text_key: str = "text", separator: str = "") -> Documents:
    """Opens a file, a folder (walked in sorted order), what `lm curate` made, `hf://datasets/…` or `builtin:…`.

    `text_key` names the key or column of the text (JSONL, parquet, Arrow, datasets); `separator` cuts each
    txt file into several documents. Contents are checked while iterating.

    Raises:
        UserError: an unknown format, a missing path, an empty file, a folder with nothing readable in it.
    """
    if format not in FORMATS:
        raise UserError(f"format={format}: unknown; one of {', '.join(FORMATS)}")
    scheme = next((name for name, prefix in _PREFIXES.items() if path.startswith(prefix)), "")
    if scheme and format in ("auto", scheme):
        return hub.open_dataset(path, text_key) if scheme == "hf" else builtin.open_builtin(path)
    if scheme or format in _PREFIXES:
        expected = scheme or "auto"
        raise UserError(f"{path}: format={format} does not fit this path; use format={expected}")
    root = existing(path)
    readers: dict[str, Read[str]] = {
        "txt": text.ReadText(separator),
        "jsonl": jsonl.ReadJsonl(text_key),
        "parquet": tables.ReadParquet(text_key),
        "arrow": tables.ReadArrow(text_key),
        "code": text.ReadText(),
    }
    if root.is_dir() and format == "auto" and curated.is_curated(root):
        return curated.open_curated(path, root)
    if root.is_dir():
        documents = _open_folder(path, root, format, readers)
    else:
        read = readers[(_by_suffix(root) or "txt") if format == "auto" else format]
        documents = FileDocuments(path, (File(root, root.name, read),), Document)
    if separator and all(file.read is not readers["txt"] for file in documents.files):
        raise UserError(f"{path}: separator={separator!r} cuts txt files only, and there is none; leave it empty")
    return documents


def existing(path: str) -> Path:
    """Returns the path of a folder or of a file that is not empty.

    Raises:
        UserError: it is missing, empty, or neither a file nor a folder.
    """
    root = Path(path).expanduser()
    if not path or not root.exists():
        raise UserError(f"{path or repr(path)}: no such file or folder; give text, JSONL, parquet, Arrow or a folder")
    if root.is_dir():
        return root
    if not root.is_file():
        raise UserError(f"{path}: neither a regular file nor a folder; copy its content to a file")
    if root.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; give one with content")
    return root


def _by_suffix(path: Path) -> str:
    """Returns the format a file's name stands for, or an empty string."""
    suffix = compressed.inner_suffix(path)
    if suffix in jsonl.SUFFIXES:
        return "jsonl"
    if suffix in tables.PARQUET_SUFFIXES:
        return "parquet"
    if suffix in tables.ARROW_SUFFIXES:
        return "arrow"
    if code.is_code(path):
        return "code"
    return "txt" if suffix in text.SUFFIXES else ""


def _open_folder(path: str, root: Path, format: str, readers: Mapping[str, Read[str]]) -> FileDocuments[str]:
    skipped: Counter[str] = Counter()
    pruned = code.GENERATED_FOLDERS if format in ("auto", "code") else frozenset()
    files = []
    for file in code.walk(root, pruned, skipped):
        kind = _by_suffix(file)
        if format == "code" and kind == "txt" and file.suffix.lower() in text.SUFFIXES:
            kind = "code"  # a repository's README is part of it
        if not kind or format not in ("auto", kind) or file.suffix.lower() == ".json":  # mostly settings, not records
            reason = "of another format"
        else:
            reason = code.skip_reason(file) if kind == "code" else ""
        if reason:
            skipped[reason] += 1
        else:
            files.append(File(file, file.relative_to(root).as_posix(), readers[kind]))
    documents = FileDocuments(path, tuple(files), Document, dict(skipped))
    if not files:
        kinds = "text, JSONL, parquet, Arrow or code" if format == "auto" else format
        raise UserError(f"{documents.describe()}: no file that could be read as {kinds}; give another folder or format")
    return documents
