"""A GGUF's tokenizer: tokens, scores, merges, and the way to cut words; those that llama.cpp lacks are refused."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.common.errors import UserError
from lm.convert import gguf
from lm.convert.gguf import tokenizer as gguf_tokenizer
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import imported
from lm.model.widths import rotary_width
from tests.convert.hf.conftest import random_params
from tests.convert.test_gguf import LLAMA, facts

_WORDS = ["".join(random.Random(n).choices("abcdefghinorst", k=2 + n % 6)) for n in range(300)]
TEXTS = ["It's 1984 in snake_case; don't.\n\n\tdef f(x): return x\n" + " ".join(_WORDS[n::7]) for n in range(7)]


def trained(tmp_path: Path, kind: str, **options: Any) -> tokenizers.Tokenizer:
    size = None if kind in ("char", "wordpiece") else 400
    config = {**tokenizers.defaults(), "kind": kind, "vocab_size": size, **options}
    return tokenizers.train(config, TEXTS, tmp_path / "t", inputs={})


def write_tokenizer(tmp_path: Path, ours: tokenizers.Tokenizer, bos: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Writes a small Llama with the tokenizer in `t`, of three ids more; returns the tokenizer's metadata and notes."""
    cfg = replace(LLAMA, vocab_size=ours.vocab_size + 3)
    made = gguf.write(cfg, random_params(cfg), tmp_path / "m.gguf", tokenizer_directory=tmp_path / "t", bos=bos)
    told = facts(tmp_path / "m.gguf")
    return {key[len("tokenizer.ggml.") :]: value for key, value in told.items() if "ggml" in key}, made.notes


@pytest.mark.parametrize(("split_digits", "words"), [(True, "qwen2"), (False, "dbrx")])
def test_byte_level_bpe_has_merges_and_the_nearest_way_to_cut_words(
    tmp_path: Path, split_digits: bool, words: str
) -> None:
    ours = trained(tmp_path, "byte_bpe", split_digits=split_digits)
    told, notes = write_tokenizer(tmp_path, ours, bos=True)
    assert (told["model"], told["pre"]) == ("gpt2", words)
    assert all(f"cut words, {words}, gives other tokens in " in note for note in notes)
    raw = json.loads(next((tmp_path / "t").glob("tokenizer-*.json")).read_bytes())
    assert [" ".join(pair) for pair in raw["model"]["merges"]] == told["merges"]
    n = ours.vocab_size
    assert {token: id for id, token in enumerate(told["tokens"][:n])} == {
        **raw["model"]["vocab"],
        **{token["content"]: token["id"] for token in raw["added_tokens"]},
    }
    control = set(ours.control.values())
    assert told["token_type"] == [3 if id in control else 1 for id in range(n)] + [5] * 3
    assert len(set(told["tokens"])) == n + 3
    ids = (told["bos_token_id"], told["eos_token_id"], told["padding_token_id"], told["unknown_token_id"])
    assert ids == tuple(ours.control[name] for name in ("<bos>", "<eos>", "<pad>", "<unk>"))
    assert (told["add_bos_token"], told["add_eos_token"]) == (True, False)


@pytest.mark.parametrize(("kind", "model"), [("sentencepiece_bpe", "llama"), ("sentencepiece_unigram", "t5")])
def test_sentencepiece_has_its_pieces_and_scores(tmp_path: Path, kind: str, model: str) -> None:
    import sentencepiece

    ours = trained(tmp_path, kind)
    told, notes = write_tokenizer(tmp_path, ours)
    processor = sentencepiece.SentencePieceProcessor(str(next((tmp_path / "t").glob("*.model"))))
    n = processor.vocab_size()
    assert told["model"] == model
    assert told["tokens"][:n] == [processor.id_to_piece(id) for id in range(n)]
    np.testing.assert_allclose(told["scores"][:n], [processor.get_score(id) for id in range(n)], rtol=1e-6)
    for id, token_type in enumerate(told["token_type"]):
        asked = {2: processor.is_unknown, 3: processor.is_control, 6: processor.is_byte}
        assert token_type == (next((t for t, is_it in asked.items() if is_it(id)), 1) if id < n else 5)
    assert (told["add_space_prefix"], told["remove_extra_whitespaces"], told["add_bos_token"]) == (False,) * 3
    assert [("becomes <unk>" in note) for note in notes] == [True] * (model == "t5")


@pytest.mark.parametrize("kind", ["byte_bpe", "sentencepiece_bpe"])
def test_transformers_cuts_text_by_the_file_as_ours_does(tmp_path: Path, kind: str) -> None:
    import transformers

    ours = trained(tmp_path, kind)
    write_tokenizer(tmp_path, ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    front = " " if kind == "sentencepiece_bpe" else ""  # which it puts there whatever the file says
    for text in TEXTS:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(front + text)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.bos_id, ours.eos_id)


@pytest.mark.parametrize("kind", ["wordpiece", "char"])
def test_tokenizers_that_llama_cpp_lacks_are_refused(tmp_path: Path, kind: str) -> None:
    ours = trained(tmp_path, kind)
    with pytest.raises(UserError, match=f"tokenizer: of kind {kind}, .* --tokenizer=False leaves it out"):
        write_tokenizer(tmp_path, ours)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def adopted(tmp_path: Path, raw: dict[str, Any], **settings: Any) -> imported.Imported:
    """Returns a tokenizer that was imported from a tokenizer.json whose `<s>` and `</s>` are its first ids."""
    (tmp_path / "from").mkdir()
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": id, "content": token, "special": True, **flags} for id, token in enumerate(("<s>", "</s>"))]
    payload = {"version": "1.0", "added_tokens": added, **raw}
    (tmp_path / "from" / imported.TOKENIZER).write_text(json.dumps(payload))
    told = {"bos_token": "<s>", "eos_token": "</s>", **settings}
    (tmp_path / "from" / imported.SETTINGS).write_text(json.dumps(told))
    size = len(raw["model"]["vocab"])
    return imported.adopt(tmp_path / "from", tmp_path / "t", vocab_size=size, config={}, inputs={})


@pytest.mark.parametrize("words", ["gpt-2", "smollm", "dbrx", "qwen2"])
def test_an_imported_way_to_cut_words_is_known_again(tmp_path: Path, words: str) -> None:
    alphabet = sorted(json.loads(json.dumps(_byte_alphabet())))
    merges = [["Ġ", "t"], ["1", "2"], ["12", "3"], ["Ġ", "1"], [".", "Ċ"], ["e", "S"], ["'", "S"], ["Ġ", "Ġ"]]
    tokens = ["<s>", "</s>", *alphabet, *("".join(pair) for pair in merges)]
    cuts = [
        {"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False}
        for p in gguf_tokenizer.WORDS[words][0]
    ]
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    raw = {
        "model": {"type": "BPE", "vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]},
        "decoder": {**to_bytes, "use_regex": True},
    }
    ours = adopted(tmp_path, raw, chat_template="{{ messages }}", add_bos_token=True)
    told, notes = write_tokenizer(tmp_path, ours)
    assert (told["pre"], notes, told["add_bos_token"]) == (words, [], True)
    assert told["token_type"][:3] == [3, 3, 1]
    assert facts(tmp_path / "m.gguf")["tokenizer.chat_template"] == "{{ messages }}"


def _byte_alphabet() -> list[str]:
    from lm.data.tokenizer.huggingface import byte_of

    return list(byte_of())


@pytest.mark.parametrize("in_front", [False, True])
def test_an_imported_sentencepiece_bpe_gets_scores_in_the_order_of_its_merges(tmp_path: Path, in_front: bool) -> None:
    merges = [["▁", "a"], ["b", "c"], ["▁a", "bc"]]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<s>", "</s>", "<unk>", *bytes_, "▁", "a", "b", "c", "bc", "▁a", "▁abc"]
    vocabulary = {token: id for id, token in enumerate(tokens)}
    steps = [{"type": "Prepend", "prepend": "▁"}] * in_front
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": True, "unk_token": "<unk>"}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    raw = {
        "model": model,
        "normalizer": {"type": "Sequence", "normalizers": [*steps, space]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    }
    told, _ = write_tokenizer(tmp_path, adopted(tmp_path, raw))
    score = dict(zip(told["tokens"], told["scores"], strict=True))
    assert score["▁a"] > score["bc"] > score["▁abc"]
    assert (told["model"], told["add_space_prefix"]) == ("llama", in_front)
    assert [told["token_type"][vocabulary[token]] for token in ("<s>", "<unk>", "<0x41>", "a")] == [3, 2, 6, 1]


def test_without_a_tokenizer_the_file_says_so(tmp_path: Path) -> None:
    made = gguf.write(LLAMA, random_params(LLAMA), tmp_path / "m.gguf")
    told = facts(tmp_path / "m.gguf")
    assert (told["tokenizer.ggml.model"], told["llama.vocab_size"], made.notes) == ("none", 61, [])
    assert rotary_width(LLAMA) == told["llama.rope.dimension_count"]
