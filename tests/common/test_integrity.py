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


def test_the_hash_is_one_of_content_alone() -> None:
    a = np.arange(9_000_000, dtype=np.int32).reshape(3000, 3000)  # more than one chunk
    assert integrity.hash_array(a) == integrity.hash_array(jnp.asarray(a)) == integrity.hash_array(np.asfortranarray(a))
    for position in (0, 4_500_000, 8_999_999):
        b = a.copy()
        b.reshape(-1)[position] ^= 1 << 20
        assert integrity.hash_array(a) != integrity.hash_array(b)


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
