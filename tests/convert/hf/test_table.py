"""Codecs are exact inverses and mean what they say; tables cover every tensor; families say all they can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.hf_specimens import SPECIMENS
from lm.common.errors import UserError
from lm.convert.hf import codecs, families, fitting
from lm.convert.hf.codecs import Codec, Ours
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import rows
from lm.model.config import ModelConfig, Rope
from tests.convert.hf.conftest import specimen
from tests.model.architectures import draw

CONFIG = ModelConfig(
    vocab_size=16, n_layers=1, n_heads=2, n_kv_heads=2, d_model=6, d_ff=10, head_width=8, max_seq_len=8,
    rope=Rope(fraction=0.5),
)  # fmt: skip
KERNEL, OUT, BIAS = Ours("q", (6, 2, 8), 1), Ours("o", (2, 8, 6), 2), Ours("b", (2, 8), 0)
NARROW = Ours("k", (6, 1, 8), 1)
EXPERTS = Ours("e", (3, 6, 10), 2)

CASES: dict[str, tuple[Codec, list[Ours]]] = {
    "copy": (codecs.copy, [KERNEL]),
    "linear in one dimension": (codecs.linear, [KERNEL]),
    "linear in two dimensions": (codecs.linear, [OUT]),
    "linear, a vector": (codecs.linear, [BIAS]),
    "linear, two of them": (codecs.linear, [KERNEL, NARROW]),
    "conv1d": (codecs.conv1d, [OUT]),
    "conv1d, a vector": (codecs.conv1d, [BIAS]),
    "fused rows": (codecs.fused(codecs.linear), [KERNEL, NARROW, NARROW]),
    "fused vectors": (codecs.fused(codecs.linear), [BIAS, BIAS]),
    "fused columns": (codecs.fused(codecs.conv1d, axis=1), [KERNEL, NARROW]),
    "fused by head": (codecs.by_head, [KERNEL, KERNEL]),
    "stacked": (codecs.stacked(codecs.linear), [EXPERTS]),
    "interleaved": (codecs.interleaved(codecs.linear), [KERNEL]),
    "interleaved, a vector": (codecs.interleaved(codecs.linear), [BIAS]),
    "interleaved and fused": (codecs.interleaved(codecs.fused(codecs.linear)), [KERNEL, NARROW]),
}


@pytest.mark.parametrize("name", CASES)
def test_codecs_are_exact_inverses_both_ways(name: str) -> None:
    codec, ours = CASES[name]
    rng = np.random.default_rng(0)
    mine = [rng.standard_normal(one.shape, np.float32) for one in ours]
    theirs = codec.write(mine, ours, CONFIG)
    assert [a.shape for a in theirs] == codec.shapes(ours, CONFIG)
    back = codec.read(theirs, ours, CONFIG)
    assert all(np.array_equal(a, b) for a, b in zip(mine, back, strict=True))
    stored = [rng.standard_normal(shape, np.float32) for shape in codec.shapes(ours, CONFIG)]
    again = codec.write(codec.read(stored, ours, CONFIG), ours, CONFIG)
    assert all(np.array_equal(a, b) for a, b in zip(stored, again, strict=True))


def test_linear_computes_what_the_torch_layer_does() -> None:
    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((16, 6)), rng.standard_normal(6)
    (kernel,) = codecs.linear.read([weight], [KERNEL], CONFIG)
    np.testing.assert_allclose(np.einsum("i,ihn->hn", x, kernel).reshape(-1), weight @ x)
    weight, heads = rng.standard_normal((6, 16)), rng.standard_normal((2, 8))
    (kernel,) = codecs.linear.read([weight], [OUT], CONFIG)
    np.testing.assert_allclose(np.einsum("hn,hnd->d", heads, kernel), weight @ heads.reshape(-1))


def test_fused_by_head_takes_each_heads_parts_in_turn() -> None:
    weight = np.arange(2 * 16 * 6).reshape(32, 6)
    first, second = codecs.by_head.read([weight], [KERNEL, KERNEL], CONFIG)
    for head in range(2):
        rows_ = weight[16 * head : 16 * head + 16]
        assert np.array_equal(first[:, head].T, rows_[:8])
        assert np.array_equal(second[:, head].T, rows_[8:])


def test_interleaved_heads_score_alike_under_either_rotation() -> None:
    rng = np.random.default_rng(2)
    one = Ours("q", (6, 1, 8), 1)
    weights, x = rng.standard_normal((2, 8, 6)), rng.standard_normal((2, 6))
    angle = np.array([0.3, 1.1])  # of the two pairs that rotate; the other half of the head does not

    def neighbours(head: np.ndarray, turns: float) -> np.ndarray:
        pairs = head[:4:2] + 1j * head[1:4:2]
        turned = pairs * np.exp(1j * turns * angle)
        return np.concatenate([np.stack([turned.real, turned.imag], -1).reshape(-1), head[4:]])

    def half_split(head: np.ndarray, turns: float) -> np.ndarray:
        turned = (head[:2] + 1j * head[2:4]) * np.exp(1j * turns * angle)
        return np.concatenate([turned.real, turned.imag, head[4:]])

    theirs = neighbours(weights[0] @ x[0], 5) @ neighbours(weights[1] @ x[1], 2)
    codec = codecs.interleaved(codecs.linear)
    q, k = (x[i] @ codec.read([weights[i]], [one], CONFIG)[0][:, 0] for i in range(2))
    np.testing.assert_allclose(half_split(q, 5) @ half_split(k, 2), theirs)


def test_a_constant_tensor_is_made_and_must_be_one() -> None:
    codec = codecs.constant(0.0)
    (made,) = codec.read([], [BIAS], CONFIG)
    assert codec.write([made], [BIAS], CONFIG) == []
    with pytest.raises(UserError, match="b: the format has no such tensor"):
        codec.write([made + 1], [BIAS], CONFIG)


@pytest.mark.parametrize("seed", range(60))
def test_every_family_says_what_it_loses_of_any_architecture(seed: int) -> None:
    cfg = draw(seed)
    for family in families.FAMILIES:
        found = fitting.obstacles(family, cfg)
        assert all(item.startswith(("model.", "config.json")) for item in found), found
        if not found:
            assert rows(family, cfg)


@pytest.mark.parametrize("name", SPECIMENS)
def test_what_a_family_can_say_comes_back_and_has_a_row_a_tensor(name: str) -> None:
    """Whatever config a family reads is one it can say, for then nothing is lost."""
    family = families.named(SPECIMENS[name].model_type, "model_type")
    cfg = family.read_config(Settings(specimen(name)))
    assert fitting.obstacles(family, cfg) == []
    assert rows(family, cfg)


def test_architectures_are_alike_however_they_are_spelt() -> None:
    cfg = replace(CONFIG, n_layers=4, window=(2, 0))
    spelt = replace(cfg, window=(2, 0, 2, 0), mlp=("swiglu",), attention_scale=8**-0.5, remat="block")
    assert fitting.architecture(cfg) == fitting.architecture(spelt)
    other = replace(cfg, window=(0, 2))
    assert fitting.architecture(cfg) != fitting.architecture(other)


def test_the_first_family_that_fits_is_chosen_and_a_preferred_one_before() -> None:
    plain = replace(CONFIG, rope=Rope())
    assert fitting.choose(plain).model_type == "llama"
    assert fitting.choose(plain, preferred="mistral").model_type == "mistral"
    assert fitting.choose(plain, preferred="qwen2").model_type == "llama"
    assert fitting.choose(plain, "mistral").model_type == "mistral"
    normed = replace(plain, qk_norm="head")
    assert fitting.choose(normed).model_type == "qwen3"
    with pytest.raises(UserError, match=r"family qwen2 cannot say model.qkv_bias=False; --format=torch"):
        fitting.choose(plain, "qwen2")
    with pytest.raises(UserError, match="did you mean llama"):
        fitting.choose(plain, "lama")
    with pytest.raises(UserError, match=r"llama, the nearest, cannot say model.hyper_streams=2; --format=torch"):
        fitting.choose(replace(plain, hyper_streams=2))
    odd = replace(plain, value_residual=True, attention_gate="head")
    with pytest.raises(UserError, match=r"no family fits; .* model.value_residual=True.*--format=torch"):
        fitting.choose(odd)
