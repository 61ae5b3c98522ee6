"""Buckets: directories at gs:// and s3:// addresses, through fsspec.

An object appears whole or not at all, cannot be added to and cannot be mapped into memory. So whoever works in a
bucket works on a copy on disk, which is sent back: file by file, each when it has changed, the manifest last.
Checkpoints alone are written where they belong by Orbax itself, which knows gs://; those of s3:// are copied as well,
each sent once it is whole. Finished stages, such as shards, are fetched once and kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.retry import retry

SCHEMES = {"gs://": "gcs", "s3://": "s3"}  # and the extra that each needs
CACHE = "LM_CACHE"  # the variable that says where fetched stages are kept, if not in the user's cache
CHECKPOINTS = "checkpoints"
_SEAL = "record/metadata"  # what says that a checkpoint's other files are there
_UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of one that is being written
_ORIGIN = ".bucket.json"  # in a copy: of what, and what of each file the bucket has


def is_bucket(address: str | Path) -> bool:
    """Says whether an address is one in a bucket."""
    return str(address).startswith(tuple(SCHEMES))


def refuse(path: Path, flag: str) -> None:
    """Refuses what would become a folder called `gs:` on this disk.

    Raises:
        UserError: the path was an address in a bucket, which the flag does not take.
    """
    if path.parts[:1] and f"{path.parts[0]}//" in SCHEMES:
        address = f"{path.parts[0]}//{'/'.join(path.parts[1:])}"
        raise UserError(f"{flag}={address}: only --workdir and --run may be in a bucket; name a directory")


def connect(address: str) -> tuple[Any, str]:
    """Returns the file system of an address, and the path there.

    Raises:
        UserError: its client is not installed.
    """
    import fsspec

    scheme = next(scheme for scheme in SCHEMES if address.startswith(scheme))
    try:
        return fsspec.core.url_to_fs(address.rstrip("/"), use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{address}: needs a client; pip install 'lm[{SCHEMES[scheme]}]'") from error


def takes_orbax(address: str) -> bool:
    """Says whether Orbax reads and writes checkpoints at an address itself, each host its own part."""
    return address.startswith("gs://")


def checkpoints(directory: Path) -> Any:
    """Returns where the checkpoints of a run are, as Orbax takes it: inside, or in the bucket that it is a copy of."""
    from etils import epath

    address = origin(directory)
    return epath.Path(address) / CHECKPOINTS if address and takes_orbax(address) else directory / CHECKPOINTS


def origin(directory: Path) -> str | None:
    """Returns the address that a directory is a copy of, or None if it stands for itself."""
    path = directory / _ORIGIN
    return json.loads(path.read_text(encoding="utf-8"))["address"] if path.is_file() else None


@contextmanager
def at_hand(address: str) -> Iterator[Path]:
    """Yields the directory itself, or for an address in a bucket a copy, which is sent back at the end, come what may.

    Of several processes each has a copy of its own, and the first sends. Checkpoints that Orbax writes there itself are
    not copied.

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


def turn(name: str) -> tuple[bool, bool, int, str]:
    """Returns when a file is sent: what says of others that they are there goes behind them."""
    return name.endswith(manifest.NAME), name.endswith(_SEAL), -name.count("/"), name


def push(directory: Path) -> int:
    """Sends what has changed in a copy to its bucket, and returns how many files that was; else does nothing.

    What says that other files are there goes last: the records of checkpoints, and manifests, the outermost at the end.
    Checkpoints that are gone here go there.

    Raises:
        UserError: the bucket cannot be written.
    """
    address = origin(directory)
    if address is None:
        return 0
    state = json.loads((directory / _ORIGIN).read_text(encoding="utf-8"))
    files, root = connect(address)
    found = {_name(directory, path): _version(path) for path in _files(directory)}
    versions = {name: version for name, version in found.items() if version}
    changed = sorted((name for name in versions if state["files"].get(name) != versions[name]), key=turn)
    for name in changed:
        retry(partial(_send, files, directory / name, f"{root}/{name}"), f"{address}/{name}")
        state["files"][name] = versions[name]
        manifest.write_atomic(directory / _ORIGIN, json.dumps(state))
    gone = {name for name in state["files"] if name.startswith(f"{CHECKPOINTS}/")} - versions.keys()
    for name in sorted(gone, key=turn, reverse=True):
        retry(partial(_remove, files, f"{root}/{name}"), f"{address}/{name}")
        del state["files"][name]
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
        retry(partial(files.get_file, source, str(part)), source)
        if manifest.sha256_file(part) != entry.sha256:
            raise UserError(f"{source}: content differs from {manifest.NAME}; run the stage again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _pull(address: str, directory: Path) -> None:
    files, root = connect(address)

    def find() -> list[str]:
        try:
            return [path.removeprefix(root).lstrip("/") for path in files.find(root)]
        except FileNotFoundError:
            return []

    found: dict[str, list[int] | None] = {}
    names = retry(find, address)
    for name in names:
        if not name or (name.startswith(f"{CHECKPOINTS}/") and not _is_whole(address, name, names)):
            continue
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        retry(partial(files.get_file, f"{root}/{name}", str(target)), f"{address}/{name}")
        found[name] = _version(target)
    manifest.write_atomic(directory / _ORIGIN, json.dumps({"address": address, "files": found}))


def _is_whole(address: str, name: str, names: list[str]) -> bool:
    """Says whether a checkpoint's file is to be copied: where Orbax does not read it there, and all of it was sent."""
    return not takes_orbax(address) and "/".join([*name.split("/")[:2], _SEAL]) in names


def _send(files: Any, path: Path, target: str) -> None:
    try:
        files.put_file(str(path), target)
    except FileNotFoundError:
        if path.exists():  # so it is the bucket that is missing; else a checkpoint was deleted just now
            raise


def _remove(files: Any, path: str) -> None:
    with suppress(FileNotFoundError):
        files.rm_file(path)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.name != _ORIGIN and _UNFINISHED not in str(path)]


def _name(directory: Path, path: Path) -> str:
    return path.relative_to(directory).as_posix()


def _version(path: Path) -> list[int] | None:
    """Returns what tells a file from an earlier one of that name, or None if it is no file, or no more."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_size, stat.st_mtime_ns] if S_ISREG(stat.st_mode) else None
