"""What is exported is what others read: shards, configs, tokenizers, and the same logits in transformers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from lm.convert import hf
from lm.convert.hf import tokenizers as tokenizer_files
from lm.data import tokenizer as tokenizers
from lm.model.config import ModelConfig, Rope
from lm.model.decoder import Decoder
from tests.convert.hf.conftest import random_params, same

_WORDS = ["".join(random.Random(n).choices("abcdefghinorst", k=2 + n % 6)) for n in range(300)]
_LINE = "The café’s naïve 東京 text ▁ with 1234 numbers; it's 5 o'clock.\n\n\tdef f(x): return x\n"
TEXTS = [_LINE + " ".join(random.Random(n).choices(_WORDS, k=200)) for n in range(20)]


def read_json(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_shards_hold_every_tensor_once_and_keep_their_limit(llama: ModelConfig, tmp_path: Path) -> None:
    limit = 10_000
    params = random_params(llama)
    made = hf.write(llama, params, tmp_path / "out", max_shard_bytes=limit)
    index = read_json(tmp_path / "out" / "model.safetensors.index.json")
    places = index["weight_map"]
    assert isinstance(places, dict)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert files == [f"model-{n:05}-of-{made.n_files:05}.safetensors" for n in range(1, made.n_files + 1)]
    total = 0
    for name in files:
        with safe_open(tmp_path / "out" / name, framework="numpy") as shard:
            assert shard.metadata() == {"format": "pt"}
            assert set(shard.keys()) == {tensor for tensor, place in places.items() if place == name}
            size = sum(shard.get_tensor(tensor).nbytes for tensor in shard.keys())  # noqa: SIM118
            assert size <= limit
            total += size
    assert index["metadata"] == {"total_size": total} == {"total_size": made.n_bytes}
    assert same(hf.read(tmp_path / "out").params, params)


def test_a_shard_may_be_smaller_than_any_tensor(llama: ModelConfig, tmp_path: Path) -> None:
    made = hf.write(llama, random_params(llama), tmp_path / "out", max_shard_bytes=1)
    places = read_json(tmp_path / "out" / "model.safetensors.index.json")["weight_map"]
    assert isinstance(places, dict)
    assert made.n_files == len(places) == len({*places.values()})


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_rounded_to_the_dtype_once(llama: ModelConfig, tmp_path: Path, dtype: str) -> None:
    hf.write(llama, random_params(llama), tmp_path / "out", dtype=dtype)
    found = hf.read(tmp_path / "out")
    assert (found.dtype, read_json(tmp_path / "out" / "config.json")["torch_dtype"]) == (dtype, dtype)
    table = random_params(llama)["embed"]["table"]
    assert np.array_equal(found.params["embed"]["table"], np.asarray(jnp.asarray(table, dtype), np.float32))


def test_dropout_is_not_written_and_that_is_said(llama: ModelConfig, tmp_path: Path) -> None:
    made = hf.write(replace(llama, dropout=0.1), random_params(llama), tmp_path / "out")
    assert [note.split(":")[0] for note in made.notes] == ["model.dropout=0.1"]
    assert hf.read_config(tmp_path / "out")[1] == llama


def test_the_card_tells_what_the_model_is(llama: ModelConfig, tmp_path: Path) -> None:
    hf.write(llama, random_params(llama), tmp_path / "mine", facts={"Training tokens": "1,234"})
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    n_params = 2 * 61 * 24 + 24 + 2 * (2 * 24 + 2 * 24 * 32 + 2 * 24 * 16 + 3 * 24 * 40)
    assert f"| Parameters | {n_params:,} |" in card
    assert "| Training tokens | 1,234 |" in card
    assert 'from_pretrained("mine")' in card


VARIANTS = {
    "llama": {"rope": Rope(theta=5e5, scaling="llama3", factor=8.0, original_len=16)},
    "mistral": {"window": 7},
    "qwen2": {"qkv_bias": True, "window": (0, 5)},
    "qwen3": {"qk_norm": "head", "tie_embeddings": True},
}


@pytest.mark.parametrize("family", VARIANTS)
def test_transformers_reads_it_and_computes_the_same(llama: ModelConfig, tmp_path: Path, family: str) -> None:
    import torch
    import transformers

    cfg = replace(llama, **VARIANTS[family])
    params = random_params(cfg)
    made = hf.write(cfg, params, tmp_path / "out", max_shard_bytes=20_000)
    assert made.family.model_type == family
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values()), loading
    tokens_BT = np.random.default_rng(0).integers(0, cfg.vocab_size, (2, 32))
    with torch.no_grad():
        theirs = model.eval()(torch.tensor(tokens_BT)).logits.numpy()
    ours = np.asarray(Decoder(cfg).apply({"params": params}, jnp.asarray(tokens_BT)).logits_BTV)
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()
    model.save_pretrained(tmp_path / "again")
    again = hf.read(tmp_path / "again")
    assert again.config == cfg
    assert same(again.params, params)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("kind", tokenizers.kinds())
def test_every_kind_of_tokenizer_gives_the_same_ids_in_transformers(
    llama: ModelConfig, tmp_path: Path, kind: str, bos: bool
) -> None:
    import transformers

    ours = tokenizers.train({**tokenizers.defaults(), "kind": kind}, TEXTS, tmp_path / "t", inputs={})
    cfg = replace(llama, vocab_size=ours.vocab_size + 3)
    made = hf.write(cfg, random_params(cfg), tmp_path / "out", tokenizer=tmp_path / "t", bos=bos)
    assert all("of equal probability" in note and kind == "sentencepiece_unigram" for note in made.notes)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)
    ids = {"bos_token_id": ours.bos_id, "eos_token_id": ours.eos_id, "pad_token_id": ours.pad_id}
    assert read_json(tmp_path / "out" / "generation_config.json") == ids
    assert ids.items() <= read_json(tmp_path / "out" / "config.json").items()
    for text in tokenizer_files._AWKWARD:
        mine = ours.encode(text)
        assert theirs(text)["input_ids"] == [ours.bos_id] * bos + mine, text
        assert theirs.decode(mine, skip_special_tokens=True) == ours.decode(mine), text


def test_a_tokenizer_that_would_cut_otherwise_is_refused(llama: ModelConfig, tmp_path: Path) -> None:
    config = {**tokenizers.defaults(), "kind": "byte_bpe", "vocab_size": 300}
    ours = tokenizers.train(config, TEXTS, tmp_path / "t", inputs={})
    payload = next((tmp_path / "t").glob("tokenizer-*.json")).read_bytes()
    raw = json.loads(payload)
    assert tokenizer_files._verify(raw, ours) == []
    raw["model"]["merges"] = raw["model"]["merges"][1:]
    with pytest.raises(tokenizer_files.UserError, match=r"of kind byte_bpe, which tokenizer.json cannot reproduce"):
        tokenizer_files._verify(raw, ours)


def test_unigram_cuts_may_differ_between_equals_alone() -> None:
    model = {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0], ["ab", -3.0], ["ba", -3.5]]}
    assert tokenizer_files._is_tie(model, [0, 1], [2])
    assert not tokenizer_files._is_tie(model, [0, 1], [3])
    assert not tokenizer_files._is_tie({**model, "type": "BPE"}, [0, 1], [2])


def test_text_is_cut_where_no_learnt_piece_stands() -> None:
    assert tokenizer_files._cuts(["<eos>"], {"<e", "eo", "a"}) == ["os"]
    with pytest.raises(tokenizer_files.UserError, match="can spell <eos>"):
        tokenizer_files._cuts(["<eos>"], {"<eo", "os>"})


def test_a_run_of_ids_has_no_tokenizer_to_write(llama: ModelConfig, tmp_path: Path) -> None:
    from lm.data.tokenizer import ids

    ids.write(tmp_path / "t", n_ids=61, end_id=2, inputs={})
    made = hf.write(llama, random_params(llama), tmp_path / "out", tokenizer=tmp_path / "t")
    assert "text was token ids" in made.notes[0]
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    assert read_json(tmp_path / "out" / "generation_config.json") == {"eos_token_id": 2}
