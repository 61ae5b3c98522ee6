"""Whose an output directory is: one job's, and one process's at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lm.common import manifest
from lm.common.config import differences
from lm.common.errors import UserError
from lm.data.curate.output import DOCUMENTS, DROPPED, FACTS, QUARANTINED, UNITS
from lm.data.curate.read import File

CLAIM, QUEUED, _LOCK = "work/claim.json", "work/queued", "work/lock"
# What a job keeps in `work`, which goes when it has ended: whatever else lies there is somebody's.
_OURS = {"claim", "dedup", "finish", "lock", "logs", "prepare", "prepared", "progress", "queued", "units"}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # file systems that know none


def check_apart(output: Path, pattern: str, files: Sequence[File]) -> None:
    """Raises UserError if the output lies in the folder that is read, where it would be input the next time."""
    made, read = output.resolve(), Path(pattern).resolve()
    inside = read.is_dir() and made.is_relative_to(read)
    if inside or any(Path(file.url).resolve().is_relative_to(made) for file in files if "://" not in file.url):
        raise UserError(f"{output}: lies in the input {pattern}, and would be read as input; choose another place")


def check(output: Path, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Finds that a directory without a finished curation may be written: empty, or begun for the same.

    Raises:
        UserError: it holds an unfinished job of another config or input, what differs is named; or other files where
            a curation would put its own.
    """
    path = output / CLAIM
    if not path.is_file():
        work = output / "work"
        foreign = [
            found for found in (work.iterdir() if work.is_dir() else ()) if found.name.split(".")[0] not in _OURS
        ]
        foreign += [output / name for name in (DOCUMENTS, DROPPED, QUARANTINED, FACTS, UNITS, "report.html")]
        for found in foreign:
            if found.exists():
                raise UserError(f"{found}: is there, but no curation made it; choose another --config.output")
        return
    if (output / QUEUED).is_file():
        raise UserError(
            f"{output}: its jobs were queued already; wait for the last of them, or, if `squeue` shows none, delete "
            f"{output / QUEUED} and start again"
        )
    made = json.loads(path.read_text(encoding="utf-8"))
    changed = [f"config.{key} {old!r} → {new!r}" for key, old, new in differences(made["config"], config)]
    changed += [f"{key} itself" for key, _, _ in differences(made["inputs"], inputs)]
    if changed:
        raise UserError(
            f"{output}: holds an unfinished curation of another kind (changed: {'; '.join(changed)}); choose "
            f"another --config.output, or delete this one"
        )


def claim(output: Path, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Notes what a directory is for: what is finished there is made from this config and input."""
    if not (output / CLAIM).is_file():
        manifest.write_atomic(output / CLAIM, json.dumps({"config": dict(config), "inputs": dict(inputs)}) + "\n")


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keeps other processes out of a directory; one in which nothing was begun is left as it was found.

    Raises:
        UserError: another process works there.
    """
    path = output / _LOCK
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        if not (_locks(lock) and path.is_file() and os.path.samestat(os.fstat(lock.fileno()), path.stat())):
            raise UserError(f"{output}: another `lm curate` is at work here; wait until it has ended")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for folder in missing:
                with suppress(OSError):  # not empty
                    folder.rmdir()


def _locks(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
