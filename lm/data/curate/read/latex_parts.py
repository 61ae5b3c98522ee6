"""Puts the files that a LaTeX source includes in their places, wherever they lie."""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lm.data.curate.read.files import File
from lm.data.curate.read.records import KEPT_BYTES, Found, Refused
from lm.data.curate.read.text import decoded

SOURCES = (".tex", ".ltx", ".latex")
_MAX_PARTS = 1000
# What includes a file; what looks like it, but is escaped or in a comment, is another mark.
_MARK = re.compile(
    r"\\(?:input|include|subfile)(?:\s*+\{(?P<braced>[^{}\n%]{1,255})\}|[ \t]++(?P<bare>[^\s{}\\%]{1,255}))"
    r"|\\.|%[^\n]*+",
    re.DOTALL,
)
_MEANS_MORE = re.compile(r"[\0-\x1f\x7f\\:*?\[\]#%$|<>\"]")  # to a file system, in an address, or to TeX
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
Look = Callable[[str, int], bytes | None]
"""Returns the first bytes, at most so many, of the file of a name below the document's folder; None if it has none."""


def with_parts(source: str, look: Look, room: int) -> str | Refused:
    """Returns a source with the files that it includes in their places, each of them once.

    It is refused if that makes it longer than `room`, or if it names more files than a document has.
    """
    too_much = Refused("LaTeX too long with its parts", source.encode()[:KEPT_BYTES])
    if len(source) > room:
        return too_much
    written: list[str] = []
    seen: set[str] = set()
    size, opened = len(source), [(source, 0)]
    while opened:
        text, at = opened.pop()
        for mark in _MARK.finditer(text, at):
            name = _part_name(mark["braced"] or mark["bare"] or "")
            if not name or name in seen:
                continue
            seen.add(name)
            if len(seen) > _MAX_PARTS:
                return Refused(f"LaTeX of more than {_MAX_PARTS} parts", source.encode())
            part = _part(name, look, room - size + 1)
            if part is None:
                continue
            size += len(part)
            if size > room:
                return too_much
            written.append(text[at : mark.start()])
            opened += [(text, mark.end()), (part, 0)]
            break
        else:
            written.append(text[at:])
    return "".join(written)


def _part_name(name: str) -> str:
    """Returns the path below the document's folder that a name in its source stands for; empty if it may not be read.

    Training text is made of what the source shows its readers: nothing hidden, nothing from elsewhere.
    """
    path = posixpath.normpath(name.strip().strip('"'))
    if _MEANS_MORE.search(path) or any(part.startswith(".") or not part for part in path.split("/")):
        return ""
    return path


def _part(name: str, look: Look, limit: int) -> str | None:
    names = [name + SOURCES[0], *([name] if name.lower().endswith(SOURCES) else [])]
    raw = next((raw for raw in (look(each, limit) for each in names) if raw is not None), None)
    part = decoded(raw) if raw is not None else None
    return part.text if isinstance(part, Found) else None


def neighbours(file: File) -> Look:
    """Returns what finds files next to a file, in the same store."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(file.url)
    folder = posixpath.dirname(path)

    def look(name: str, limit: int) -> bytes | None:
        where = posixpath.join(folder, name)
        try:
            if not _lies_within(filesystem, folder, where):
                return None
            with filesystem.open(where, "rb") as stream:
                return bytes(stream.read(limit))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, KeyError):
            return None
        except OSError as error:
            if error.errno in _OF_THE_NAME:
                return None
            raise

    return look


def _lies_within(filesystem: Any, folder: str, path: str) -> bool:
    """Tells whether a path leads to a file below a folder, wherever links lead."""
    from fsspec.implementations.local import LocalFileSystem

    if not isinstance(filesystem, LocalFileSystem):
        return True
    found = Path(os.path.realpath(path))
    return found.is_file() and found.is_relative_to(os.path.realpath(folder))
