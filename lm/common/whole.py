"""A directory, or a file, that is whole or absent: made beside its place, and put there by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lm.common import buckets
from lm.common.errors import UserError
from lm.common.manifest import attempt_id


@contextmanager
def whole_directory(path: Path, flag: str) -> Iterator[Path]:
    """Yields an empty directory to fill, which becomes `path` if nothing is raised and goes away otherwise.

    `flag` is what named the path, for the message.

    Raises:
        UserError: something is there already.
    """
    buckets.refuse(path, flag)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        what = "holds files" if path.is_dir() else "is a file"
        raise UserError(f"{flag}={path}: {what} already; name a new or an empty directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.absolute().with_name(f".{path.absolute().name}.{attempt_id()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_file(path: Path, flag: str) -> Iterator[Path]:
    """Yields a name to write to, whose file becomes `path` if nothing is raised and goes away otherwise.

    `flag` is what named the path, for the message.

    Raises:
        UserError: something is there already.
    """
    buckets.refuse(path, flag)
    if path.exists():
        raise UserError(f"{flag}={path}: is there already; name a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.absolute().with_name(f".{path.absolute().name}.{attempt_id()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
