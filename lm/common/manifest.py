"""Stage directories that are whole or absent: files under attempt-unique names, then one manifest, written last.

Every stage writes a directory. Its files carry a suffix unique to the attempt, so two attempts never
write to one name; `manifest.json` is put in place last, in one atomic step, and names the files that
count with size and SHA-256. Readers open only what a manifest lists, so a stage that was killed half
way has produced nothing, and can simply be run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lm
from lm.common.config import differences
from lm.common.errors import UserError

NAME = "manifest.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileEntry:
    """One file of a stage: its path relative to the stage directory, size in bytes, SHA-256 in hex."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What made a directory, from what, with which config, and the files that count.

    `inputs` maps a name to the fingerprint of what was read (see `fingerprint` and `fingerprint_files`);
    `counts` is free-form JSON with the stage's own figures.
    """

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    counts: dict[str, Any]
    files: tuple[FileEntry, ...]
    version: str = field(default_factory=lambda: lm.__version__)


def attempt_id() -> str:
    """Returns 8 hex digits that no other attempt will use in its file names."""
    return secrets.token_hex(4)


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content in hex, reading 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Writes a whole file or nothing: a temporary neighbour, flushed to disk, then renamed into place."""
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f"{path.name}.{attempt_id()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(
    directory: Path,
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    counts: Mapping[str, Any],
    files: Iterable[Path],
) -> Manifest:
    """Hashes `files` (paths inside `directory`), writes the manifest last and atomically, and returns it."""
    entries = tuple(
        FileEntry(path.relative_to(directory).as_posix(), path.stat().st_size, sha256_file(path))
        for path in sorted(files)
    )
    manifest = Manifest(stage, dict(config), dict(inputs), dict(counts), entries)
    write_atomic(directory / NAME, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")
    return manifest


def read(directory: Path, stage: str | None = None) -> Manifest:
    """Reads a directory's manifest and checks that each listed file is there with its size.

    Raises:
        UserError: no manifest, one made by another stage, or a missing or truncated file.
    """
    path = directory / NAME
    if not path.is_file():
        raise UserError(f"{directory}: no {NAME} here, so no finished stage; run the stage that makes it first")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**{**raw, "files": tuple(FileEntry(**entry) for entry in raw["files"])})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a manifest ({error}); run the stage that makes it again") from error
    if stage is not None and manifest.stage != stage:
        raise UserError(f"{directory}: made by `lm {manifest.stage}`, but `lm {stage}` output is needed here")
    for entry in manifest.files:
        file = directory / entry.name
        size = file.stat().st_size if file.is_file() else None
        if size != entry.bytes:
            found = "missing" if size is None else f"{size} bytes"
            raise UserError(f"{file}: {found}, but {path.name} says {entry.bytes} bytes; run the stage again")
    return manifest


def find(directory: Path, stage: str) -> Manifest | None:
    """Returns the manifest of a finished `stage` in `directory`, or None if there is none."""
    return read(directory, stage) if (directory / NAME).is_file() else None


def find_same(directory: Path, stage: str, *, config: Mapping[str, Any], inputs: Mapping[str, str]) -> Manifest | None:
    """Returns the finished `stage` in `directory` if it was made from these, None if nothing is finished there.

    Raises:
        UserError: it was made with another config or from other inputs; what differs is named.
    """
    made = find(directory, stage)
    if made is None:
        return None
    changed = [f"config.{key} {old!r} → {new!r}" for key, old, new in differences(made.config, config)]
    changed += [f"{key} itself" for key, _, _ in differences(made.inputs, inputs)]
    if changed:
        raise UserError(
            f"{directory}: holds `lm {stage}` output made otherwise (changed: {'; '.join(changed)}); "
            f"choose another --workdir, or delete this one"
        )
    return made


def copy_stage(source: Path, target: Path, stage: str) -> None:
    """Copies a finished stage into another directory, its manifest last; one that is there already is left alone."""
    if (target / NAME).is_file() and (target / NAME).read_bytes() == (source / NAME).read_bytes():
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in read(source, stage).files:
        shutil.copyfile(source / entry.name, target / entry.name)
    write_atomic(target / NAME, (source / NAME).read_bytes())


def verify(directory: Path) -> list[str]:
    """Hashes every listed file and returns one line per file that is not what the manifest says."""
    manifest = read(directory)
    return [
        f"{directory / entry.name}: content differs from {NAME} (SHA-256 {actual[:12]}…, not {entry.sha256[:12]}…)"
        for entry in manifest.files
        if (actual := sha256_file(directory / entry.name)) != entry.sha256
    ]


def fingerprint(value: Any) -> str:
    """Returns 16 hex digits that identify a JSON-able value (key order does not matter)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint_files(paths: Iterable[Path]) -> str:
    """Returns 16 hex digits over names, sizes and modification times, without reading any content."""
    return fingerprint([[str(p), (s := p.stat()).st_size, s.st_mtime_ns] for p in sorted(paths)])


def fingerprint_stage(directory: Path) -> str:
    """Returns 16 hex digits that identify what a finished stage made: the same again where it is made again.

    Names and inputs do not count: files are named anew at every attempt, and inputs may have been copied or touched.
    """
    made = read(directory)
    # A stage within a stage has a manifest of its own, which says no more than the files it lists.
    content = [entry.sha256 for entry in made.files if not entry.name.endswith(f"/{NAME}")]
    return fingerprint([made.stage, made.config, content])
