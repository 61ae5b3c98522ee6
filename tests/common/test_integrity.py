"""The hash is one of content, and leaves have names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lm.common import integrity

MakeState = Callable[..., dict[str, Any]]


def mixed(word: int) -> int:
    word = (word ^ (word >> 16)) * 0x85EBCA6B % 2**32
    word = (word ^ (word >> 13)) * 0xC2B2AE35 % 2**32
    return word ^ (word >> 16)


def fingerprint_oracle(array: np.ndarray) -> str:
    """One number after another, in Python's integers."""
    total = [0, 0]
    for at in np.ndindex(*array.shape):
        bits = int.from_bytes(array[at].tobytes(), "little")
        place = 0x9E3779B9
        for i in at:
            place = mixed(place ^ i)
        total[0] += mixed(bits ^ place)
        total[1] += mixed((bits + mixed(place ^ 0xFFFFFFFF)) % 2**32)
    return "".join(f"{word % 2**32:08x}" for word in total)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 2)])
def test_a_fingerprint_is_its_definition(shape: tuple[int, ...], dtype: str) -> None:
    values = jnp.asarray(np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)
    assert integrity.fingerprints({"a": values}) == {"a": fingerprint_oracle(np.asarray(values))}


def test_any_bit_and_any_two_numbers_swapped_change_it() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    seen = {fingerprint_oracle(values)}
    for bit in range(values.nbytes * 8):
        flipped = bytearray(values.tobytes())
        flipped[bit // 8] ^= 1 << (bit % 8)
        seen.add(*integrity.fingerprints({"a": jnp.asarray(np.frombuffer(flipped, np.float32).reshape(4, 6))}).values())
    for one, other in ((0, 1), (0, 6), (5, 23)):
        swapped = values.copy().reshape(-1)
        swapped[[one, other]] = swapped[[other, one]]
        seen.add(*integrity.fingerprints({"a": jnp.asarray(swapped.reshape(4, 6))}).values())
    assert len(seen) == 1 + values.nbytes * 8 + 3


def test_a_number_more_or_less_changes_it_and_so_does_another_shape() -> None:
    prints = [*integrity.fingerprints({str(n): jnp.zeros(n) for n in (3, 4)}).values()]
    prints += integrity.fingerprints({"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.arange(6.0).reshape(3, 2)}).values()
    assert len({*prints}) == 4


def test_leaves_are_named_by_dotted_paths(make_state: MakeState) -> None:
    assert list(integrity.named_leaves(make_state(1))) == [
        "optimizer.0.mu.embed",
        "optimizer.0.count",
        "optimizer.1",
        "params.block.w",
        "params.block.zero",
        "params.embed",
        "step",
    ]
    with pytest.raises(AssertionError, match=r"both called a\.b"):
        integrity.named_leaves({"a": {"b": 1}, "a.b": 2})


def test_nested_is_the_way_back_from_dotted_paths() -> None:
    tree = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert integrity.nested(integrity.named_leaves(tree)) == tree


def test_a_record_is_read_back_only_as_it_was_sealed() -> None:
    body = {"step": 3, "extra": {"loss": 0.1, "text": "é", "none": None, "list": [1, 2.5]}}
    text = json.dumps(integrity.seal(body))
    assert integrity.unseal(text) == body
    raw = text.encode()
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            altered = integrity.unseal(flipped.decode())
        except (integrity.DamagedError, UnicodeDecodeError):
            continue
        assert altered == body, bit  # such as a blank that became another one


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"sha256": ""}'])
def test_what_is_no_record_is_damage(text: str) -> None:
    with pytest.raises(integrity.DamagedError, match="the record"):
        integrity.unseal(text)
