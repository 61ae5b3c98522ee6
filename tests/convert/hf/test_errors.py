"""What is wrong with a checkpoint is said in one line that names it, and nothing else is raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lm.common.errors import UserError
from lm.convert import hf
from lm.model.config import ModelConfig
from tests.convert.hf.conftest import random_params
from tests.convert.hf.test_read import configure, rewrite

Q, UP, HEAD = "model.layers.1.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"


def refusal(checkpoint: Path) -> str:
    """Returns the one line that reading it ends in."""
    with pytest.raises(UserError) as caught:
        hf.read(checkpoint)
    message = str(caught.value)
    assert "\n" not in message
    assert str(checkpoint) in message or message.startswith("model."), message
    return message


def with_bad(value: float, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tensors[name][3, 2] = value
    return tensors


TENSORS: dict[str, tuple[Any, str]] = {
    "missing": (lambda t: {n: a for n, a in t.items() if n != Q}, f"missing {Q}"),
    "renamed": (lambda t: {"q" if n == Q else n: a for n, a in t.items()}, f"missing {Q}; not known q"),
    "extra": (lambda t: t | {"model.layers.0.extra.weight": t[Q]}, "not known model.layers.0.extra.weight"),
    "of one layer more": (lambda t: t | {Q.replace("1", "2"): t[Q]}, "not known model.layers.2.self_attn"),
    "transposed": (lambda t: t | {UP: np.ascontiguousarray(t[UP].T)}, f"mis-shaped {UP} is (24, 40), not (40, 24)"),
    "of a longer vocabulary": (lambda t: t | {HEAD: t[UP]}, f"{HEAD} is (40, 24), not (61, 24)"),
    "of whole numbers": (lambda t: t | {UP: t[UP].astype(np.int8)}, f"{UP} is I8"),
    "of doubles": (lambda t: t | {UP: t[UP].astype(np.float64)}, f"{UP} is F64"),
    "with a NaN": (lambda t: with_bad(np.nan, UP, t), f"{UP} holds NaN"),
    "with an infinity": (lambda t: with_bad(np.inf, UP, t), f"{UP} holds an infinity"),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_is_not_as_it_should_be_is_named(checkpoint: Path, name: str) -> None:
    change, said = TENSORS[name]
    rewrite(checkpoint, change)
    assert said in refusal(checkpoint)


def test_every_mistake_is_named_at_once(checkpoint: Path) -> None:
    rewrite(
        checkpoint, lambda t: {n: a for n, a in t.items() if "layers.1" not in n} | {"odd": t[Q], UP: t[UP].T.copy()}
    )
    message = refusal(checkpoint)
    assert "and 5 more" in message
    assert "not known odd" in message
    assert f"mis-shaped {UP}" in message


def test_a_tied_head_that_differs_is_refused(checkpoint: Path) -> None:
    configure(checkpoint, tie_word_embeddings=True)
    assert "lm_head.weight differs from model.embed_tokens.weight" in refusal(checkpoint)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(checkpoint: Path, share: float) -> None:
    path = checkpoint / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert f"{path}: truncated" in refusal(checkpoint)


def test_shards_that_do_not_fit_their_index_are_named(llama: ModelConfig, tmp_path: Path) -> None:
    made = hf.write(llama, random_params(llama), tmp_path / "many", max_shard_bytes=8_000)
    assert made.n_files > 2
    second = sorted((tmp_path / "many").glob("model-*.safetensors"))[1]
    content = second.read_bytes()
    tensors = load_file(second)
    lost = sorted(tensors)[0]
    save_file({name: a for name, a in tensors.items() if name != lost} or {"x": np.zeros(1)}, second)
    assert f"says it holds {lost}" in refusal(tmp_path / "many")
    second.unlink()
    assert f"{second}: missing" in refusal(tmp_path / "many")
    second.write_bytes(content)
    (tmp_path / "many" / "model.safetensors.index.json").unlink()
    assert "neither model.safetensors nor" in refusal(tmp_path / "many")


def test_what_is_no_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    assert "config.json: no such file" in refusal(tmp_path / "nowhere")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    assert "pickled weights are not read" in refusal(checkpoint)
    (checkpoint / "pytorch_model.bin").unlink()
    assert "no model.safetensors" in refusal(checkpoint)
    (checkpoint / "config.json").write_text("{]")
    assert "not valid JSON" in refusal(checkpoint)


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "a family nobody knows": ({"model_type": "lamma"}, "model_type=lamma: no such family; did you mean llama?"),
    "no family": ({"model_type": ...}, "model_type is missing"),
    "a feature nobody knows": ({"mixture_of_depths": 2}, "mixture_of_depths=2: not known for this family"),
    "quantised weights": ({"quantization_config": {"bits": 4}}, "quantization_config: quantised weights"),
    "an unknown activation": ({"hidden_act": "xielu"}, 'hidden_act="xielu": supported are silu'),
    "an unknown rotation": ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 'rope_type="dynamic"'),
    "a rotation cut short": ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "low_freq_factor is missing"),
    "a rotation with more": ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "bend": 1}}, "bend=1: not known"),
    "a missing size": ({"hidden_size": ...}, "hidden_size is missing"),
    "a size that is none": ({"hidden_size": "24"}, 'hidden_size="24": a whole number'),
    "heads that do not divide": ({"num_key_value_heads": 3}, "model.n_kv_heads=3"),
    "a rotation per layer": ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention="),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_had_is_named(checkpoint: Path, name: str) -> None:
    keys, said = CONFIGS[name]
    configure(checkpoint, **keys)
    assert said in refusal(checkpoint)


def test_nothing_is_left_of_an_export_that_fails(llama: ModelConfig, tmp_path: Path) -> None:
    params = random_params(llama)
    params["final_norm"]["scale"][1] = np.nan
    with pytest.raises(UserError, match=r"final_norm.scale: holds values that are not finite"):
        hf.write(llama, params, tmp_path / "out")
    params["final_norm"]["scale"][1] = 1e9
    with pytest.raises(UserError, match=r"dtype=float16: model.norm.weight holds numbers beyond its range"):
        hf.write(llama, params, tmp_path / "out", dtype="float16")
    with pytest.raises(UserError, match="dtype=int8: choose one of"):
        hf.write(llama, params, tmp_path / "out", dtype="int8")
    with pytest.raises(UserError, match="max_shard_bytes=0"):
        hf.write(llama, params, tmp_path / "out", max_shard_bytes=0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_written_over(llama: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files already"):
        hf.write(llama, random_params(llama), tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]
