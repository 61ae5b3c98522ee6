"""Buckets: directories at gs:// and s3:// addresses, through fsspec.

An object appears whole or not at all, cannot be added to and cannot be mapped into memory. So whoever works in a
bucket works on a copy on disk, which is sent back: file by file, each when it has changed, the manifest last.
Checkpoints alone are written where they belong by Orbax itself. Finished stages, such as shards, are fetched once and
kept.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from lm.common import manifest
from lm.common.errors import UserError

T = TypeVar("T")

SCHEMES = {"gs://": "gcs", "s3://": "s3"}  # and the extra that each needs
CACHE = "LM_CACHE"  # the variable that says where fetched stages are kept, if not in the user's cache
_LEFT = "checkpoints/"  # what Orbax reads and writes in the bucket itself
_ORIGIN = ".bucket.json"  # in a copy: of what, and what of each file the bucket has
_TRIES, _FIRST_SECONDS, _PASSING = 5, 2.0, (408, 429)
# as s3fs says what a server said
_PASSING_ERRORS = {errno.EIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)}


def is_bucket(address: str | Path) -> bool:
    """Says whether an address is one in a bucket."""
    return str(address).startswith(tuple(SCHEMES))


def may_pass(error: Exception) -> bool:
    """Says whether what failed may succeed if it is tried again: what a server or the way to it is to blame for."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code in _PASSING or code >= 500
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in _PASSING_ERRORS
    return type(error).__module__.partition(".")[0] in ("aiohttp", "asyncio")


def retry(
    work: Callable[[], T],
    what: str,
    *,
    tries: int = _TRIES,
    on: Callable[[Exception], bool] = may_pass,
    wait: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Does `work`, again if it fails in a way that may pass, after pauses that double, of which half is left to chance.

    `what` is the address and what was to be done there, for the message.

    Raises:
        UserError: it failed for the last time, or in a way that no other try mends.
    """
    for attempt in range(tries):
        try:
            return work()
        except Exception as error:
            passing = on(error)
            if not passing and not isinstance(error, OSError):
                raise
            if passing and attempt < tries - 1:
                wait(_FIRST_SECONDS * 2**attempt * (0.5 + 0.5 * chance()))
                continue
            times = f" {tries} times, at last" if passing else ""
            words = " ".join(str(error).split())[:200]
            raise UserError(
                f"{what}: failed{times} with {type(error).__name__} ({words}); what was done until then is kept, and "
                "the same command continues"
            ) from error
    raise AssertionError("no tries")


def connect(address: str) -> tuple[Any, str]:
    """Returns the file system of an address, and the path there.

    Raises:
        UserError: its client is not installed, or there are no credentials.
    """
    import fsspec

    scheme = next(scheme for scheme in SCHEMES if address.startswith(scheme))
    try:
        return fsspec.core.url_to_fs(address.rstrip("/"), use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{address}: needs a client; pip install 'lm[{SCHEMES[scheme]}]'") from error


def directly(address: str) -> Any:
    """Returns the path that Orbax takes for an address.

    Raises:
        UserError: Orbax cannot write there.
    """
    from etils import epath

    if not address.startswith("gs://"):
        raise UserError(
            f"{address}: Orbax writes checkpoints to gs:// and to disks; train in a directory and copy it there, or "
            "name a mounted file system"
        )
    return epath.Path(address)


def origin(directory: Path) -> str | None:
    """Returns the address that a directory is a copy of, or None if it stands for itself."""
    path = directory / _ORIGIN
    return json.loads(path.read_text(encoding="utf-8"))["address"] if path.is_file() else None


@contextmanager
def at_hand(address: str) -> Iterator[Path]:
    """Yields the directory itself, or for an address in a bucket a copy, which is sent back at the end, come what may.

    Of several processes each has a copy of its own, and the first sends. Checkpoints are not copied.

    Raises:
        UserError: the bucket cannot be read, or at the end not be written.
    """
    if not is_bucket(address):
        yield Path(address)
        return
    with tempfile.TemporaryDirectory(prefix="lm-") as scratch:
        copy = Path(scratch) / (PurePosixPath(address.rstrip("/")).name or "bucket")
        copy.mkdir()
        _pull(address.rstrip("/"), copy)
        try:
            yield copy
        except UserError as error:
            raise UserError(str(error).replace(str(copy), address.rstrip("/"))) from error
        finally:
            if _is_first() and (sent := push(copy)):
                print(f"{address}: {sent} files sent", file=sys.stderr)


def push(directory: Path) -> int:
    """Sends what has changed in a copy to its bucket, and returns how many files that was; else does nothing.

    Manifests, which say that all is there, go last, and the outermost last of them.

    Raises:
        UserError: the bucket cannot be written.
    """
    address = origin(directory)
    if address is None:
        return 0
    state = json.loads((directory / _ORIGIN).read_text(encoding="utf-8"))
    files, root = connect(address)
    changed = [path for path in _files(directory) if state["files"].get(_name(directory, path)) != _version(path)]
    for path in sorted(changed, key=lambda path: (path.name == manifest.NAME, -len(path.parts), path)):
        name, version = _name(directory, path), _version(path)
        retry(lambda path=path, name=name: files.put_file(str(path), f"{root}/{name}"), f"{address}/{name}")  # type: ignore[misc]
        state["files"][name] = version
        manifest.write_atomic(directory / _ORIGIN, json.dumps(state))
    return len(changed)


def fetched(address: str) -> Path:
    """Returns a directory on this disk with a finished stage's files, fetched and hashed unless they are there already.

    Raises:
        UserError: there is no finished stage, the bucket cannot be read, or what comes is not what the manifest says.
    """
    address = address.rstrip("/")
    raw = _manifest(address)
    if raw is None:
        raise UserError(f"{address}: no {manifest.NAME} here, so no finished stage; run the stage that makes it first")
    directory = _cache() / f"{PurePosixPath(address).name}-{manifest.fingerprint(raw.decode('utf-8'))}"
    files, root = connect(address)
    directory.mkdir(parents=True, exist_ok=True)
    for entry in json.loads(raw)["files"]:
        _fetch(files, f"{root}/{entry['name']}", directory / entry["name"], manifest.FileEntry(**entry))
    manifest.write_atomic(directory / manifest.NAME, raw)
    return directory


def stage_of(address: str) -> str | None:
    """Returns which stage made what is at an address, or None if no stage has finished there.

    Raises:
        UserError: the bucket cannot be read.
    """
    raw = _manifest(address.rstrip("/"))
    return json.loads(raw).get("stage") if raw is not None else None


def _manifest(address: str) -> bytes | None:
    files, root = connect(address)

    def read() -> bytes | None:
        try:
            return files.cat_file(f"{root}/{manifest.NAME}")
        except FileNotFoundError:
            return None

    return retry(read, f"{address}/{manifest.NAME}")


def _is_first() -> bool:
    """Says so of a process alone without waking any devices up."""
    jax = sys.modules.get("jax")
    return jax is None or not jax.distributed.is_initialized() or jax.process_index() == 0


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get(CACHE) or Path(home) / "lm")


def _fetch(files: Any, source: str, target: Path, entry: manifest.FileEntry) -> None:
    if target.is_file() and target.stat().st_size == entry.bytes:
        return  # it was hashed before it was put in place
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{manifest.attempt_id()}.tmp")
    try:
        retry(lambda: files.get_file(source, str(part)), source)
        if manifest.sha256_file(part) != entry.sha256:
            raise UserError(f"{source}: content differs from {manifest.NAME}; run the stage again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _pull(address: str, directory: Path) -> None:
    files, root = connect(address)

    def find() -> dict[str, Any]:
        try:
            return files.find(root, detail=True)
        except FileNotFoundError:
            return {}

    found: dict[str, list[int]] = {}
    for path in retry(find, address):
        name = path.removeprefix(root).lstrip("/")
        if name.startswith(_LEFT) or not name:
            continue
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        retry(lambda path=path, target=target: files.get_file(path, str(target)), f"{address}/{name}")  # type: ignore[misc]
        found[name] = _version(target)
    manifest.write_atomic(directory / _ORIGIN, json.dumps({"address": address, "files": found}))


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != _ORIGIN]


def _name(directory: Path, path: Path) -> str:
    return path.relative_to(directory).as_posix()


def _version(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
