"""The module's names and layouts follow from roles, and lose nothing."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from lm.convert.pytorch import names
from lm.model.config import ModelConfig
from tests.model.architectures import draw

SMALL = ModelConfig(
    vocab_size=11, n_layers=2, n_heads=4, n_kv_heads=2, d_model=6, d_ff=10, head_width=2, max_seq_len=8, qkv_bias=True
)


@pytest.mark.parametrize("seed", range(8))
def test_writing_and_reading_give_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = names.rows(draw(seed))
    assert len({row.theirs for row in table}) == len(table)
    for row in table:
        array = rng.normal(size=row.ours[0].shape)
        (theirs,) = row.write([array])
        assert theirs.shape == row.shapes[0]
        np.testing.assert_array_equal(row.read([theirs])[0], array)


def test_names_and_shapes_are_those_of_pytorch() -> None:
    found = {row.theirs[0]: row.shapes[0] for row in names.rows(SMALL)}
    assert found["embed.table.weight"] == (11, 6)
    assert found["layers.1.mixer.q.weight"] == (8, 6)
    assert found["layers.1.mixer.k.bias"] == (4,)
    assert found["layers.0.mixer.o.weight"] == (6, 8)
    assert found["layers.0.mlp.down.weight"] == (6, 10)
    assert found["layers.0.mixer_norm.scale"] == (6,)


def test_a_linear_map_is_the_same_map() -> None:
    """x @ kernel, heads flattened, is x @ weight.T."""
    (row,) = (row for row in names.rows(SMALL) if row.theirs == ("layers.0.mixer.q.weight",))
    kernel = np.asarray(jax.random.normal(jax.random.key(0), (6, 4, 2)))
    x = np.asarray(jax.random.normal(jax.random.key(1), (3, 6)))
    (weight,) = row.write([kernel])
    np.testing.assert_allclose(x @ weight.T, np.einsum("bi,ihn->bhn", x, kernel).reshape(3, 8), rtol=1e-5)
