"""Which files are read: a path, a folder, a glob, or the same under any URL that fsspec knows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm.common.errors import UserError

_MAGIC = frozenset("*?[")
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "modified", "created", "CRC")


@dataclass(frozen=True)
class File:
    """One file: where it is, its path below the input's common folder, its bytes as they lie, and its version.

    The version is what the store tells of changes: an ETag, else the time of modification; empty if it tells neither.
    """

    url: str
    name: str
    bytes: int
    version: str


def list_files(pattern: str) -> tuple[File, ...]:
    """Returns the files that a path, folder (with its subfolders), glob or fsspec URL names, sorted by name.

    Hidden files and folders are left out, unless the pattern itself names them.

    Raises:
        UserError: there is no such file, or none in the folder; a protocol that is unknown or needs a package.
    """
    import fsspec

    head, separator, rest = pattern.partition("::")
    try:
        filesystem, path = fsspec.core.url_to_fs(pattern)
        found = dict(_find(filesystem, path, magic=bool(_MAGIC.intersection(head))))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{pattern}: no such file or folder; check the path") from error
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{pattern}: cannot be listed ({error}); check the path and its protocol") from error
    if not found:
        raise UserError(f"{pattern}: not a single file there; give a folder with files, or a glob that matches some")
    return tuple(
        File(
            url=_url(filesystem, info["name"], separator + rest),
            name=os.fsencode(name).decode("utf-8", "backslashreplace"),  # names need not be text; ids must
            bytes=info["size"] or 0,
            version=_version(info),
        )
        for name, info in sorted(found.items())
    )


def units(files: Sequence[File], *, target_bytes: int = 32 << 20) -> tuple[tuple[File, ...], ...]:
    """Divides files into units of work, in their order: small ones together up to `target_bytes`, large ones alone."""
    divided: list[tuple[File, ...]] = []
    group: list[File] = []
    size = 0
    for file in files:
        if group and size + file.bytes > target_bytes:
            divided.append(tuple(group))
            group, size = [], 0
        group.append(file)
        size += file.bytes
    return (*divided, tuple(group)) if group else tuple(divided)


def _find(filesystem: Any, path: str, *, magic: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each file's name below the folder that all have in common, and what its store tells of it."""
    if magic:
        folder = path[: min(path.find(sign) for sign in _MAGIC if sign in path)].rpartition("/")[0]
        found = filesystem.glob(path, detail=True)
    elif filesystem.isdir(path):
        folder = path
        found = filesystem.find(path, detail=True)
    else:
        info = filesystem.info(path)
        yield info["name"].rpartition("/")[2], info
        return
    root = folder.strip("/")
    for info in found.values():
        name = info["name"].strip("/").removeprefix(root).lstrip("/")
        if not magic and any(part.startswith(".") for part in name.split("/")):
            continue
        if info.get("islink"):
            info = filesystem.info(info["name"])  # what the link leads to
            if info["type"] == "directory":
                raise UserError(f"{info['name']}: a link to a folder, which is not followed; name that folder instead")
        if info["type"] == "file":
            yield name, info


def _url(filesystem: Any, path: str, archive: str) -> str:
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    if archive:
        return f"{protocol}://{path}{archive}"
    return path if protocol == "file" else filesystem.unstrip_protocol(path)


def _version(info: Mapping[str, Any]) -> str:
    return next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
