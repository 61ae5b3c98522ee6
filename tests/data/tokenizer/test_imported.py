"""Tokenizers made elsewhere: the library's ids, whatever the text spells, and roles from whichever file has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library

from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import imported

TEXTS = ["", " ", "The cats sat  on a mat.\n", "café 東京 👩‍👩‍👧", "<s> </s>x <0x41>", "▁ a▁b", "\x00\t\r\n"]
SPECIAL = ["<s>", "</s>", "<unk>"]


def byte_level() -> library.Tokenizer:
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["The cats sat on a mat. " * 20], trainer)
    return made


def sentencepiece_like() -> library.Tokenizer:
    """In the way of Llama 2: a space is `▁`, one stands before the text, unknown characters are bytes."""
    chars = [*"▁abcdehmnostTr.", "▁a", "at", "▁s"]
    vocabulary = {token: id for id, token in enumerate([*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), *chars])}
    merges = [("▁", "a"), ("a", "t"), ("▁", "s")]
    made = library.Tokenizer(
        library.models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.add_special_tokens(SPECIAL)
    normalizers, decoders = library.normalizers, library.decoders
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = library.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return made


def adopt(made: library.Tokenizer, folder: Path, vocab_size: int = 400, **files: dict[str, Any]) -> imported.Imported:
    """Stores a tokenizer with other files beside it, and adopts it."""
    source = folder / "theirs"
    source.mkdir()
    made.save(str(source / "tokenizer.json"))
    for name, content in files.items():
        (source / f"{name}.json").write_text(json.dumps(content))
    imported.adopt(
        source, folder / "ours", vocab_size=vocab_size, config={"eos_token_id": 1, "bos_token_id": 0}, inputs={}
    )
    loaded = tokenizers.load(folder / "ours")
    assert isinstance(loaded, imported.Imported)
    return loaded


@pytest.mark.parametrize("kind", [byte_level, sentencepiece_like])
def test_ids_are_the_librarys_and_text_never_makes_a_control_token(kind: Any, tmp_path: Path) -> None:
    made = kind()
    ours = adopt(made, tmp_path)
    made.encode_special_tokens = True
    batch = ours.encode_batch(TEXTS)
    for text, ids in zip(TEXTS, batch, strict=True):
        assert ids.tolist() == ours.encode(text) == made.encode(text, add_special_tokens=False).ids
        assert not set(ids.tolist()) & {0, 1}
        assert ours.decode([0, *ids, 1]) == made.decode(ids.tolist(), skip_special_tokens=True)
    with pytest.raises(UserError, match="surrogate"):
        ours.encode("\ud800")


def test_byte_level_is_lossless_and_counts_bytes(tmp_path: Path) -> None:
    ours = adopt(byte_level(), tmp_path)
    assert ours.lossless
    for text in TEXTS:
        assert ours.decode(ours.encode(text)) == text
        assert ours.token_bytes()[ours.encode(text)].sum() == len(text.encode())
    assert ours.token_bytes()[[0, 1, 2]].tolist() == [0, 0, 0]


def test_pieces_of_a_sentencepiece_count_their_space_as_a_byte(tmp_path: Path) -> None:
    ours = adopt(sentencepiece_like(), tmp_path)
    assert not ours.lossless
    assert ours.decode(ours.encode("a cat é")) == "a cat é"
    assert ours.token_bytes()[ours.encode("cat é")].sum() == len(" cat é".encode())


@pytest.mark.parametrize(("adds", "bos"), [({}, True), ({"add_bos_token": False}, False)])
def test_bos_is_put_in_front_where_the_files_say_so(tmp_path: Path, adds: dict[str, bool], bos: bool) -> None:
    assert adopt(sentencepiece_like(), tmp_path, tokenizer_config=adds).facts.bos is bos


def test_without_a_template_nothing_is_put_in_front(tmp_path: Path) -> None:
    assert adopt(byte_level(), tmp_path).facts.bos is False


def test_roles_are_taken_from_the_tokenizer_before_the_model(tmp_path: Path) -> None:
    settings = {"eos_token": {"content": "<unk>"}, "pad_token": "<s>", "bos_token": None}
    ours = adopt(byte_level(), tmp_path, tokenizer_config=settings, generation_config={"eos_token_id": [1, 2]})
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == (0, 2, 0)
    assert ours.stop_ids == {1, 2}


def test_a_missing_role_is_said_when_it_is_needed(tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    byte_level().save(str(source / "tokenizer.json"))
    ours = imported.adopt(source, tmp_path / "ours", vocab_size=400, config={"eos_token_id": 1}, inputs={})
    assert ours.pad_id == 1
    with pytest.raises(UserError, match="no token that begins a text"):
        _ = ours.bos_id
    with pytest.raises(UserError, match="names no eos_token"):
        imported.adopt(source, tmp_path / "more", vocab_size=400, config={}, inputs={})


def test_control_tokens_beyond_the_model_are_left_out_and_others_refused(tmp_path: Path) -> None:
    made = byte_level()
    size = made.get_vocab_size()
    made.add_special_tokens(["<image>"])
    ours = adopt(made, tmp_path, vocab_size=size)
    assert ours.vocab_size == size
    assert "<image>" not in ours.control
    with pytest.raises(UserError, match=r"1 tokens, such as .* beyond the model's vocabulary"):
        imported.adopt(tmp_path / "theirs", tmp_path / "x", vocab_size=size - 1, config={"eos_token_id": 1}, inputs={})


@pytest.mark.parametrize("name", ["tokenizer_config", "generation_config", "special_tokens_map"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    byte_level().save(str(source / "tokenizer.json"))
    (source / f"{name}.json").write_text("[")
    with pytest.raises(UserError, match=f"{name}.json: not valid JSON"):
        imported.adopt(source, tmp_path / "ours", vocab_size=400, config={"eos_token_id": 1}, inputs={})
    assert not (tmp_path / "ours").exists()
