"""Hashes of our own for checkpoints: a flipped bit, a wrong shape or a missing leaf is named, never restored.

A checkpoint's *record* is one JSON object that lists every leaf with shape, dtype and SHA-256, holds
whatever else belongs to the checkpoint, and carries a hash of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_CHUNK_BYTES = 16 << 20
_SEAL = "sha256"


class DamagedError(Exception):
    """What was stored is not what was saved; the message says what, without saying where or what to do."""


def named_leaves(tree: Any) -> dict[str, Any]:
    """Returns every leaf of a PyTree under its dotted path, such as `params.decoder.embed`, in tree order."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = ".".join(_key_name(key) for key in path)
        assert name not in leaves, f"two leaves are both called {name}"
        leaves[name] = leaf
    return leaves


def _key_name(key: Any) -> str:
    for attribute in ("name", "key", "idx"):  # GetAttrKey, DictKey and FlattenedIndexKey, SequenceKey
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"a PyTree key without a name: {key!r}")


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested dicts that the dotted paths describe."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def host_copy(array: jax.Array | np.ndarray) -> np.ndarray:
    """Returns the whole of an array, wherever its shards lie, on this host; nothing stays cached on `array`."""
    if not isinstance(array, jax.Array):
        return np.asarray(array)
    if not array.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    # jax keeps the host copy it made with the array it made it of, which would double a restored state's memory
    shards = [shard.data for shard in array.addressable_shards]
    return np.asarray(jax.make_array_from_single_device_arrays(array.shape, array.sharding, shards))


def hash_array(array: jax.Array | np.ndarray) -> str:
    """Returns 64 hex digits over an array's bytes in C order: the SHA-256 of the SHA-256s of 16 MiB chunks.

    The chunks are hashed on all cores. The digest does not depend on how the array is sharded.
    """
    raw = np.ascontiguousarray(host_copy(array)).reshape(-1).view(np.uint8)
    chunks = [raw[start : start + _CHUNK_BYTES] for start in range(0, len(raw), _CHUNK_BYTES)]
    total = hashlib.sha256()
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, max(len(chunks), 1))) as pool:
        for digest in pool.map(lambda chunk: hashlib.sha256(chunk.data).digest(), chunks):
            total.update(digest)
    return total.hexdigest()


def describe(leaves: Mapping[str, jax.Array]) -> dict[str, dict[str, Any]]:
    """Returns shape, dtype and hash of every leaf, as the record stores them."""
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "sha256": hash_array(leaf)}
        for name, leaf in leaves.items()
    }


def misfits(saved: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Any]) -> list[str]:
    """Returns one phrase for every leaf that is missing, extra, mis-shaped or mis-typed in what was saved."""
    found = [f"{name} is missing" for name in wanted if name not in saved]
    found += [f"{name} is extra" for name in saved if name not in wanted]
    for name, leaf in wanted.items():
        if name not in saved:
            continue
        if (shape := tuple(saved[name]["shape"])) != tuple(leaf.shape):
            found.append(f"{name} has shape {shape}, not {tuple(leaf.shape)}")
        if (dtype := saved[name]["dtype"]) != str(leaf.dtype):
            found.append(f"{name} is {dtype}, not {leaf.dtype}")
    return found


def difference(saved: Mapping[str, Any], array: np.ndarray) -> str:
    """Returns in what an array differs from its entry in the record, or "" if it is what was saved."""
    if found := misfits({"it": saved}, {"it": array}):
        return " and ".join(found).replace("it ", "", 1)
    return "" if hash_array(array) == saved["sha256"] else "content differs from what was saved (SHA-256)"


def seal(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON-able `body` with a hash of itself."""
    plain = json.loads(json.dumps(body, allow_nan=False))
    return {**plain, _SEAL: _hash_json(plain)}


def unseal(text: str) -> dict[str, Any]:
    """Returns the body of a sealed record.

    Raises:
        DamagedError: not JSON, or not what was sealed.
    """
    try:
        body = json.loads(text)
        sealed = body.pop(_SEAL)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"the record is not readable ({type(error).__name__}: {error})") from error
    if sealed != _hash_json(body):
        raise DamagedError("the record differs from what was saved (SHA-256)")
    return body


def _hash_json(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
