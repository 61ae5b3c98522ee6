"""Checkpoints as they are found: in one file or many, of any float, with either spelling of the config."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lm.common.errors import UserError
from lm.convert import hf
from lm.convert.hf import reading
from lm.convert.hf.families import deepseek_v3
from lm.convert.hf.settings import Settings, read_json
from lm.model.config import ModelConfig, Rope
from tests.convert.hf.conftest import random_params, same, specimen


def rewrite(checkpoint: Path, change: Any) -> None:
    """Replaces the tensors by what `change` makes of them."""
    save_file(change(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")


def configure(checkpoint: Path, **keys: Any) -> None:
    """Sets keys of config.json; those given as `...` are taken out."""
    path = checkpoint / "config.json"
    values = {**json.loads(path.read_text()), **keys}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def test_what_was_written_is_read_bit_for_bit(checkpoint: Path, llama: ModelConfig) -> None:
    found = hf.read(checkpoint)
    assert found.config == llama
    assert (found.family.model_type, found.dtype) == ("llama", "float32")
    assert same(found.params, random_params(llama))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_short_floats_are_held_as_float32_exactly(checkpoint: Path, llama: ModelConfig, dtype: Any) -> None:
    rewrite(checkpoint, lambda tensors: {name: a.astype(dtype) for name, a in tensors.items()})
    found = hf.read(checkpoint)
    assert found.dtype == np.dtype(dtype).name
    rounded = jax.tree.map(lambda a: a.astype(dtype).astype(np.float32), random_params(llama))
    assert same(found.params, rounded)


def test_where_floats_are_mixed_the_dtype_holds_them_all(checkpoint: Path) -> None:
    """A bfloat16 has not the digits of a float16, nor that its range."""
    kinds = (ml_dtypes.bfloat16, np.float16)
    rewrite(checkpoint, lambda t: {name: a.astype(kinds[i % 2]) for i, (name, a) in enumerate(t.items())})
    assert hf.read(checkpoint).dtype == "float32"


def test_the_config_is_parsed_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(reading, "read_json", lambda path: parsed.append(path.name) or read_json(path))
    hf.read(checkpoint)
    assert parsed == ["config.json"]


def test_a_trunk_without_its_prefix_and_buffers_without_weights_are_read(checkpoint: Path, llama: ModelConfig) -> None:
    def change(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        buffers = {"layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float64)}
        return {name.removeprefix("model."): a for name, a in tensors.items()} | buffers

    rewrite(checkpoint, change)
    assert same(hf.read(checkpoint).params, random_params(llama))


def test_a_tied_head_may_be_there_if_it_is_the_table(llama: ModelConfig, tmp_path: Path) -> None:
    tied = replace(llama, tie_embeddings=True)
    params = random_params(tied)
    hf.write(tied, params, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    rewrite(tmp_path / "tied", lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"]})
    assert same(hf.read(tmp_path / "tied").params, params)


def test_layers_of_deepseek_v3_that_predict_further_tokens_are_left_out(tmp_path: Path) -> None:
    small = {"num_hidden_layers": 2, "first_k_dense_replace": 1}
    cfg = deepseek_v3.FAMILY.read_config(Settings({**specimen("deepseek_v3"), **small}))
    params = random_params(cfg)
    hf.write(cfg, params, checkpoint := tmp_path / "checkpoint", family="deepseek_v3")
    second, third = (f"model.layers.{i}.eh_proj.weight" for i in (2, 3))
    rewrite(checkpoint, lambda tensors: tensors | {second: np.ones((2, 3), np.float32)})
    configure(checkpoint, num_nextn_predict_layers=1)
    assert same(hf.read(checkpoint).params, params)
    configure(checkpoint, num_nextn_predict_layers=..., num_mtp_layers=1)  # as it is called inside of transformers
    rewrite(checkpoint, lambda tensors: tensors | {third: np.ones(2, np.float32)})
    with pytest.raises(UserError, match=f"not known {third};"):
        hf.read(checkpoint)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
SPELLINGS: dict[str, tuple[dict[str, Any], Rope]] = {
    "a base alone": ({"rope_theta": 500_000, "rope_scaling": None}, Rope(theta=500_000.0)),
    "a base inside": (
        {"rope_theta": ..., "rope_scaling": ..., "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
        Rope(theta=500_000.0),
    ),
    "the oldest name of a kind": (
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        Rope(scaling="linear", factor=4.0),
    ),
    "llama3": (
        {"rope_theta": 1e4, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
        Rope(scaling="llama3", factor=8.0, original_len=16),
    ),
    "llama3 inside": (
        {
            "rope_theta": ...,
            "rope_scaling": ...,
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 2e4, **LLAMA3},
        },
        Rope(theta=2e4, scaling="llama3", factor=8.0, original_len=16),
    ),
    "yarn, of the context there is": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        Rope(scaling="yarn", factor=2.0, original_len=32),
    ),
    "yarn in DeepSeek's words": (
        {"rope_scaling": {"type": "yarn", "factor": 40, "mscale": 0.7, "mscale_all_dim": 0.7}},
        Rope(scaling="yarn", factor=40.0, original_len=32, attention_factor=1.0),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_rope_is_read(checkpoint: Path, name: str) -> None:
    keys, rope = SPELLINGS[name]
    configure(checkpoint, **keys)
    assert hf.read_config(checkpoint)[1].rope == rope


@pytest.mark.parametrize(
    ("keys", "windows"),
    [
        ({}, (0, 0)),
        ({"use_sliding_window": False, "sliding_window": 8, "max_window_layers": 0}, (0, 0)),
        ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, (0, 8)),
        ({"use_sliding_window": True, "sliding_window": None, "max_window_layers": 1}, (0, 0)),
        (
            {
                "use_sliding_window": True,
                "sliding_window": 8,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            (8, 0),
        ),
    ],
)
def test_qwen_slides_where_it_says_so(checkpoint: Path, keys: dict[str, Any], windows: tuple[int, ...]) -> None:
    configure(checkpoint, model_type="qwen2", attention_bias=..., mlp_bias=..., **keys)
    _, cfg = hf.read_config(checkpoint)
    assert tuple(layer.window for layer in cfg.layers) == windows
    assert (cfg.qkv_bias, cfg.o_bias) == (True, False)


@pytest.mark.parametrize(("keys", "window"), [({}, 4096), ({"sliding_window": None}, 0), ({"sliding_window": 7}, 7)])
def test_mistral_has_a_window_unless_it_says_none(checkpoint: Path, keys: dict[str, Any], window: int) -> None:
    configure(checkpoint, model_type="mistral", attention_bias=..., mlp_bias=..., **keys)
    assert hf.read_config(checkpoint)[1].window == window


def test_keys_that_change_nothing_and_empty_ones_are_passed_over(checkpoint: Path, llama: ModelConfig) -> None:
    configure(
        checkpoint,
        transformers_version="4.40.0",
        attention_dropout=0.1,
        pretraining_tp=1,
        rope_interleaved=False,
        something_new=None,
        eos_token_id=[1, 2],
    )
    assert hf.read_config(checkpoint)[1] == llama
