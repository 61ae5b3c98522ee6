"""A GGUF holds what llama.cpp computes with: every tensor by its name, in its order of numbers, and sizes and switches.

Held against the parameters by rules written out here, against the `gguf` package that reads it, and against the
models that transformers builds of it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf as library
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.convert import flat, gguf
from lm.convert.gguf import architectures, metadata
from lm.convert.hf import families
from lm.model import rope
from lm.model.config import ModelConfig, Rope
from lm.model.decoder import Decoder
from tests.convert.hf.conftest import random_params

_SHAPE = {"vocab_size": 61, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 32, "d_ff": 48}
LLAMA = ModelConfig(**_SHAPE, head_width=8, max_seq_len=24, tie_embeddings=False)
_BIASED = {"norm": "layer", "norm_bias": True, "qkv_bias": True, "o_bias": True, "mlp_bias": True, "mlp": "gelu_tanh"}
_GEMMA = {"mlp": "geglu_tanh", "norm_scale": "one_plus", "embedding_scale": math.sqrt(32), "tie_embeddings": True}
_SANDWICH = {**_GEMMA, "norm_placement": "sandwich", "attention_scale": 1 / 16, "head_width": 256}
_GEMMA3_ROPE = Rope(theta=(1e4,) * 5 + (1e6,))
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"qkv_bias": True, "o_bias": True, "mlp_bias": True},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": "head", "head_width": 128},
    "smollm3": {"n_layers": 5, "position": ("rope", "rope", "rope", "none")},
    "granite": {"attention_scale": 0.5, "embedding_scale": 3.0, "residual_scale": 0.3, "logit_scale": 0.25},
    "olmo": {"norm": "layer", "norm_scale": "none", "norm_epsilon": 1e-5, "qkv_clip": 0.5},
    "olmo2": {"norm_placement": "output", "qk_norm": "full"},
    "gemma": _GEMMA,
    "gemma2": {**_SANDWICH, "window": (7, 0), "attention_softcap": 50.0, "logit_softcap": 30.0},
    "gemma3_text": {
        **_SANDWICH, "n_layers": 6, "qk_norm": "head", "window": (7,) * 5 + (0,), "rope": _GEMMA3_ROPE
    },
    "starcoder2": _BIASED,
    "gpt2": {**_BIASED, "n_kv_heads": 4, "position": "none", "position_embedding": "learned", "tie_embeddings": True},
    "phi": {**_BIASED, "residual": "parallel_shared", "head_bias": True, "rope": Rope(fraction=0.5)},
    "phi3": {},
}  # fmt: skip
QUICK, SLOW = ("llama", "gemma2"), ("qwen2", "qwen3", "gemma3_text", "starcoder2", "gpt2", "phi3")
IN_TRANSFORMERS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def family(name: str) -> ModelConfig:
    return replace(LLAMA, **FAMILIES[name])


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns a file's tensors in float32."""
    return {t.name: library.dequantize(t.data, t.tensor_type) for t in library.GGUFReader(path).tensors}


def facts(path: Path) -> dict[str, Any]:
    """Returns a file's metadata."""
    return {name: field.contents() for name, field in library.GGUFReader(path).fields.items()}


def paired(kernel_DHN: np.ndarray) -> np.ndarray:
    """Returns a map to heads with halves told apart as llama.cpp wants it for `llama`: neighbours are a pair."""
    _, h, n = kernel_DHN.shape
    rows = []
    for head in range(h):
        for i in range(n // 2):
            rows += [kernel_DHN[:, head, i], kernel_DHN[:, head, i + n // 2]]
    return np.stack(rows)


def test_every_tensor_of_a_llama_is_there_under_its_name(tmp_path: Path) -> None:
    params = random_params(LLAMA)
    made = gguf.write(LLAMA, params, tmp_path / "m.gguf")
    ours, found = flat.flatten(LLAMA, params), read(tmp_path / "m.gguf")
    wanted = {
        "token_embd.weight": ours["embed.table"],
        "output_norm.weight": ours["final_norm.scale"],
        "output.weight": ours["head.kernel"].T,
    }
    for i in range(LLAMA.n_layers):
        at, blk = f"layers.{i}", f"blk.{i}"
        wanted |= {
            f"{blk}.attn_norm.weight": ours[f"{at}.mixer_norm.scale"],
            f"{blk}.ffn_norm.weight": ours[f"{at}.mlp_norm.scale"],
            f"{blk}.attn_q.weight": paired(ours[f"{at}.mixer.q.kernel"]),
            f"{blk}.attn_k.weight": paired(ours[f"{at}.mixer.k.kernel"]),
            f"{blk}.attn_v.weight": ours[f"{at}.mixer.v.kernel"].reshape(32, 16).T,
            f"{blk}.attn_output.weight": ours[f"{at}.mixer.o.kernel"].reshape(32, 32).T,
            f"{blk}.ffn_gate.weight": ours[f"{at}.mlp.gate.kernel"].T,
            f"{blk}.ffn_up.weight": ours[f"{at}.mlp.up.kernel"].T,
            f"{blk}.ffn_down.weight": ours[f"{at}.mlp.down.kernel"].T,
        }
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)
    assert (made.n_files, made.n_bytes) == (1, 4 * sum(values.size for values in wanted.values()))


def test_pairs_of_neighbours_give_the_scores_of_halves() -> None:
    """llama.cpp's rotation of what is written, written out, makes the scores that ours makes of what we have."""
    rng = np.random.default_rng(0)
    q_D, k_D = rng.standard_normal((2, 8)).astype(np.float32)
    frequency_R = rope.frequencies(Rope(), 8, 1e4, 1.0)

    def halves(x_D: np.ndarray, t: int) -> np.ndarray:
        turned = rope.rotate(jnp.asarray(x_D)[None, None, None], jnp.full((1, 1), t), frequency_R)
        return np.asarray(turned)[0, 0, 0]

    def neighbours(x_D: np.ndarray, t: int) -> np.ndarray:
        turned = (x_D[0::2] + 1j * x_D[1::2]) * np.exp(1j * t * frequency_R)
        return np.stack([turned.real, turned.imag], -1).reshape(-1)

    theirs = [paired(x_D[None, None])[:, 0] for x_D in (q_D, k_D)]
    for t, s in ((0, 0), (3, 1), (20, 2)):
        score = halves(q_D, t) @ halves(k_D, s)
        assert neighbours(theirs[0], t) @ neighbours(theirs[1], s) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_whole_and_of_known_names(tmp_path: Path, name: str) -> None:
    cfg = family(name)
    made = gguf.write(cfg, params := random_params(cfg), tmp_path / "m.gguf", family=name)
    assert made.family.model_type == name
    found, architecture = read(tmp_path / "m.gguf"), facts(tmp_path / "m.gguf")["general.architecture"]
    number = next(key for key, value in library.MODEL_ARCH_NAMES.items() if value == architecture)
    known = {library.TENSOR_NAMES[tensor] for tensor in library.MODEL_TENSORS[number]}
    for tensor in found:
        stem = tensor.rpartition(".")[0]
        assert stem.replace(f".{stem.split('.')[1]}.", ".{bid}.") if "blk" in stem else stem in known, tensor
    ours = flat.flatten(cfg, params)
    assert sum(values.size for values in found.values()) == sum(values.size for values in ours.values())
    shift = cfg.norm_scale == "one_plus"
    theirs = np.concatenate([np.sort(v - shift * t.endswith("norm.weight"), None) for t, v in found.items()])
    mine = np.concatenate([values.ravel() for values in ours.values()])
    np.testing.assert_allclose(np.sort(theirs), np.sort(mine), atol=3e-7)  # one plus a scale less one rounds


@pytest.mark.parametrize("name", IN_TRANSFORMERS)
def test_transformers_reads_it_and_computes_the_same(tmp_path: Path, name: str) -> None:
    import torch
    import transformers

    cfg = family(name) if name != "llama" else LLAMA  # which transformers gives no biases from a GGUF
    params = random_params(cfg)
    gguf.write(cfg, params, tmp_path / "m.gguf", family=name)
    told = {"vocab_size": cfg.vocab_size, "pad_token_id": None}  # which for some it asks the tokenizer
    if name == "gpt2":
        told |= {"n_positions": cfg.max_seq_len, "n_inner": cfg.d_ff}  # which it does not look for
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32, **told)
    tokens_BT = np.random.default_rng(0).integers(0, cfg.vocab_size, (2, cfg.max_seq_len))
    with torch.no_grad():
        theirs = model.eval()(torch.tensor(tokens_BT)).logits.numpy()
    ours = np.asarray(Decoder(cfg).apply({"params": params}, jnp.asarray(tokens_BT)).logits_BTV)
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


def test_sizes_and_what_a_family_has_of_its_own_are_said(tmp_path: Path) -> None:
    for name in ("llama", "gemma2", "gemma3_text", "granite", "olmo", "phi"):
        gguf.write(cfg := family(name), random_params(cfg), tmp_path / f"{name}.gguf")
    llama = facts(tmp_path / "llama.gguf")
    assert {key.removeprefix("llama."): value for key, value in llama.items() if key.startswith("llama.")} == {
        "context_length": 24, "vocab_size": 61, "block_count": 2, "embedding_length": 32, "feed_forward_length": 48,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 8,
        "attention.value_length": 8, "attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "rope.dimension_count": 8, "rope.freq_base": 10000.0,
    }  # fmt: skip
    assert (llama["general.name"], llama["general.file_type"]) == ("llama", 0)
    gemma2, gemma3 = facts(tmp_path / "gemma2.gguf"), facts(tmp_path / "gemma3_text.gguf")
    assert (gemma2["gemma2.attn_logit_softcapping"], gemma2["gemma2.final_logit_softcapping"]) == (50.0, 30.0)
    assert (gemma2["gemma2.attention.sliding_window"], gemma3["gemma3.attention.sliding_window"]) == (7, 7)
    assert (gemma3["gemma3.rope.freq_base"], gemma3["gemma3.rope.freq_base_swa"]) == (1e6, 1e4)
    granite = facts(tmp_path / "granite.gguf")
    scales = ("attention.scale", "embedding_scale", "residual_scale", "logit_scale")
    assert [granite[f"granite.{key}"] for key in scales] == pytest.approx([0.5, 3.0, 0.3, 4.0])
    assert facts(tmp_path / "olmo.gguf")["olmo.attention.clamp_kqv"] == 0.5
    assert facts(tmp_path / "phi.gguf")["phi2.rope.dimension_count"] == 4


def test_stretched_rope_is_said_or_given_as_factors(tmp_path: Path) -> None:
    llama3 = replace(LLAMA, rope=Rope(theta=5e5, scaling="llama3", factor=8.0, original_len=64))
    gguf.write(llama3, random_params(llama3), tmp_path / "llama3.gguf")
    factors = read(tmp_path / "llama3.gguf")["rope_freqs.weight"]
    plain = rope.frequencies(Rope(), 8, 5e5, 1.0)
    np.testing.assert_allclose(plain / factors, rope.frequencies(llama3.rope, 8, 5e5, 8.0), rtol=1e-6)
    assert factors[0] == 1.0
    assert factors[-1] == pytest.approx(8.0)
    assert "llama.rope.scaling.type" not in facts(tmp_path / "llama3.gguf")
    yarn = replace(LLAMA, rope=Rope(scaling="yarn", factor=4.0, original_len=8, attention_factor=1.3))
    gguf.write(yarn, random_params(yarn), tmp_path / "yarn.gguf")
    told = facts(tmp_path / "yarn.gguf")
    assert (told["llama.rope.scaling.type"], told["llama.rope.scaling.factor"]) == ("yarn", 4.0)
    assert told["llama.rope.scaling.original_context_length"] == 8
    assert told["llama.rope.scaling.attn_factor"] * (0.1 * math.log(4) + 1) == pytest.approx(1.3)
    assert metadata.rope_factors(yarn) is None


def test_half_precision_and_blocks_round_once_and_leave_vectors_alone(tmp_path: Path) -> None:
    cfg = replace(LLAMA, d_ff=64)
    params = random_params(cfg)
    files = {dtype: tmp_path / f"{dtype}.gguf" for dtype in gguf.TYPES}
    made = {dtype: gguf.write(cfg, params, path, dtype=dtype) for dtype, path in files.items()}
    exact = read(files["float32"])
    bounds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "float16": lambda a: np.abs(a) * 2.0**-11,
        "bfloat16": lambda a: np.abs(a) * 2.0**-8,
        "q8_0": lambda a: np.repeat(np.abs(a).reshape(*a.shape[:-1], -1, 32).max(-1) / 127, 32, -1).reshape(a.shape),
    }
    for dtype, bound in bounds.items():
        for name, values in read(files[dtype]).items():
            if values.ndim == 1:
                np.testing.assert_array_equal(values, exact[name])
            else:
                assert (np.abs(values - exact[name]) <= 0.6 * bound(exact[name]) * (2 - (dtype == "q8_0")) + 1e-7).all()
                assert not np.array_equal(values, exact[name])
    sizes = {dtype: one.n_bytes for dtype, one in made.items()}
    assert sizes["q8_0"] < sizes["float16"] == sizes["bfloat16"] < sizes["float32"]
    odd = replace(LLAMA, d_ff=40)  # whose rows are no blocks of 32
    gguf.write(odd, random_params(odd), tmp_path / "odd.gguf", dtype="q8_0")
    kinds = {t.name: t.tensor_type.name for t in library.GGUFReader(tmp_path / "odd.gguf").tensors}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_up.weight"]) == ("F16", "Q8_0")
    assert facts(tmp_path / "odd.gguf")["general.file_type"] == 7


REFUSED = {
    "model.window=4": {"window": 4},
    "model.mlp='geglu'": {"mlp": "geglu"},
    "not for family stablelm": {"norm": "layer", "norm_bias": True},
    "no family fits": {"attention_gate": "head"},
    "llama, the nearest, cannot say model.hyper_streams=2": {"hyper_streams": 2},
    "qwen3 cannot say model.o_bias=True": {"qk_norm": "head", "qkv_bias": True, "o_bias": True},
    "qwen2 cannot say model.head_width=4": {"qkv_bias": True, "head_width": 4},
    "gemma2 cannot say model.attention_scale": {**FAMILIES["gemma2"], "attention_scale": 0.125},
    "gemma3 cannot say model.window": {**FAMILIES["gemma3_text"], "window": (7, 0), "rope": Rope(theta=(1e4, 1e6))},
    "llama cannot say model.rope.beta_fast=16": {
        "rope": Rope(scaling="yarn", factor=4.0, original_len=8, beta_fast=16.0)
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path: Path, message: str) -> None:
    cfg = replace(LLAMA, **REFUSED[message])
    with pytest.raises(UserError) as error:
        gguf.write(cfg, random_params(cfg), tmp_path / "m.gguf")
    assert message in str(error.value)
    assert "--format=torch" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_holds_the_whole_context_is_none(tmp_path: Path) -> None:
    cfg = replace(LLAMA, window=24)
    gguf.write(cfg, random_params(cfg), tmp_path / "m.gguf")
    assert "llama.attention.sliding_window" not in facts(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_key_that_the_file_cannot_say_is_an_obstacle(name: str) -> None:
    cfg, found = family(name), architectures.ARCHITECTURES[name]
    assert architectures.obstacles(found, cfg) == []
    assert not architectures.obstacles(found, replace(cfg, dtype="bfloat16", scan_layers=False))
    for key in ("attention_sinks", "value_residual"):
        assert f"model.{key}=True" in architectures.obstacles(found, replace(cfg, **{key: True}))


def test_every_architecture_is_of_a_family_and_the_package() -> None:
    known = {one.model_type for one in families.FAMILIES}
    assert architectures.ARCHITECTURES.keys() <= known
    assert {one.name for one in architectures.ARCHITECTURES.values()} <= set(library.MODEL_ARCH_NAMES.values())
    assert architectures.ARCHITECTURES.keys() == FAMILIES.keys() | {"mistral"}


def test_nothing_is_left_of_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = random_params(LLAMA)
    params["head"]["kernel"] *= 1e6
    with pytest.raises(UserError, match=r"dtype=float16: output.weight holds numbers beyond its range"):
        gguf.write(LLAMA, params, tmp_path / "m.gguf", dtype="float16")
    params["head"]["kernel"][0, 0] = np.nan
    with pytest.raises(UserError, match=r"head.kernel: holds values that are not finite"):
        gguf.write(LLAMA, params, tmp_path / "m.gguf")
    with pytest.raises(UserError, match="dtype=q4_0: choose one of float32"):
        gguf.write(LLAMA, params, tmp_path / "m.gguf", dtype="q4_0")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m.gguf").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        gguf.write(LLAMA, random_params(LLAMA), tmp_path / "m.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"pip install 'lm\[gguf\]'"):
        gguf.write(LLAMA, params, tmp_path / "n.gguf")
