"""Hashes of our own for checkpoints: a flipped bit, a wrong shape or a missing leaf is named, never restored.

A checkpoint's *record* is one JSON object that lists every leaf with shape, dtype and fingerprint, holds
whatever else belongs to the checkpoint, and carries a hash of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


def fingerprints(leaves: Mapping[str, jax.Array]) -> dict[str, str]:
    """Returns 16 hex digits over the bits of every array and where each of them stands.

    Computed where the shards lie, so that no host ever holds what is not its own, and the same however an array is
    sharded: a sum modulo 2^64 over its numbers, each mixed with its place. A sum of bijections of a number's bits
    changes with any one of them; that several changes cancel out has a chance of 2^-64.
    """
    found = _fingerprints(dict(leaves))
    return {name: "".join(f"{int(word):08x}" for word in np.asarray(found[name])) for name in leaves}


@jax.jit
def _fingerprints(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: _fingerprint(array) for name, array in leaves.items()}


def _fingerprint(array: jax.Array) -> jax.Array:
    """Sums two differently mixed words over an array; uint32 `[2]`."""
    width = array.dtype.itemsize
    assert width <= 4, f"no fingerprint of {array.dtype}"
    array = jax.device_put(array, jax.memory.Space.Device)  # what lies in the host's memory is computed with nowhere
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    bits = jax.lax.bitcast_convert_type(array, f"uint{8 * width}").astype(jnp.uint32)
    place = jnp.full(array.shape, 0x9E3779B9, jnp.uint32)
    for axis in range(array.ndim):
        place = _mix(place ^ jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis))
    return jnp.stack([jnp.sum(_mix(bits ^ place)), jnp.sum(_mix(bits + _mix(~place)))])


def _mix(word: jax.Array) -> jax.Array:
    """Scrambles 32 bits, one to one (MurmurHash3's finalizer, Appleby, 2011)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def describe(leaves: Mapping[str, jax.Array]) -> dict[str, dict[str, Any]]:
    """Returns shape, dtype and fingerprint of every leaf, as the record stores them."""
    prints = fingerprints(leaves)
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "bits": prints[name]}
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


def differences(saved: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, jax.Array]) -> list[str]:
    """Returns the names of the arrays whose bits are not those that were saved."""
    prints = fingerprints(arrays)
    return [name for name in arrays if prints[name] != saved[name].get("bits")]


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
