"""What holds for every kind: round trips, control tokens that no text can forge, exact byte counts."""

import json
import random
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest

from lm.common import manifest
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer.passages import passages

HOSTILE = {
    "empty": "",
    "control tokens": "<pad><bos><eos><unk><reserved_0> <bos> hello<eos>\n<unk>",
    "control tokens of others": "<s></s>[PAD][CLS]<|endoftext|><|im_start|> <0x41> ##ing ⁇",
    "white space": "  \t\t leading, \r\n\r\n   trailing \n\n\n \x0b\x0c\x85\xa0\u2028\u3000 ",
    "NUL and control characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "the library's space": "▁▁ a▁b ▁ c▁\n▁",
    "private use and noncharacters": "\ue000\uf8ff\U000f0000\U0010ffff\ufffe\uffff\ufdd0",
    "replacement and byte order mark": "\ufeff\ufffd\u2047\u2585",
    "combining and joined": "e\u0301 \u0301\u0301 नमस्ते 안녕 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 Z̷̡a̶l̵g̸o̶",
    "right to left": "\u202eabc\u202c שלום \u200fمرحبا",
    "digits of all sorts": "0123456789 ½²٣१௧Ⅷ①",
    "one long word": "a" * 3000 + "=" * 3000 + " " * 3000 + "é" * 3000,
}


def _random_texts() -> list[str]:
    draw = random.Random(7)
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    wide = ["".join(map(chr, draw.choices(points, k=draw.randint(1, 60)))) for _ in range(200)]
    narrow = ["".join(draw.choices("a Z9\n\t\r'▁<>_é日\0 ", k=draw.randint(1, 40))) for _ in range(400)]
    return wide + narrow


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_comes_back(lossless, text):
    ids = lossless.encode(text)
    assert lossless.decode(ids) == text
    assert lossless.token_bytes()[ids].sum() == len(text.encode())


def test_random_text_comes_back(lossless):
    texts = _random_texts()
    for text, ids in zip(texts, lossless.encode_batch(texts), strict=True):
        assert lossless.decode(ids) == text
        assert lossless.token_bytes()[ids].sum() == len(text.encode())


def test_no_text_yields_a_control_token(tokenizer):
    allowed = set() if tokenizer.lossless else {tokenizer.control["<unk>"]}
    forbidden = set(tokenizer.control.values()) - allowed
    texts = [*HOSTILE.values(), *_random_texts(), *tokenizer.control, " ".join(tokenizer.control)]
    for ids in tokenizer.encode_batch(texts):
        assert not forbidden & set(ids.tolist())


@pytest.mark.parametrize("kind", tokenizers.kinds())
def test_control_text_in_the_training_text_is_not_learnt_as_a_control_token(kind, corpus, tmp_path):
    config = tokenizers.defaults()
    config.kind = kind
    forged = [*corpus, *["<bos><eos> <reserved_0> <unk>\n<pad>\n"] * 400]
    made = tokenizers.train(config, forged, tmp_path, inputs={})
    for name, id in made.control.items():
        assert id not in made.encode(f"{name}{name} {name}\n{name}")
    assert len({made.piece(id) for id in made.control.values()}) == len(made.control)


def test_a_lone_surrogate_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"half a surrogate pair, which is no character, in 'a\\ud800'"):
        tokenizer.encode("a\ud800b")


def test_batches_agree_with_single_texts(tokenizer, corpus):
    texts = [*corpus[:5], *HOSTILE.values()]
    batch = tokenizer.encode_batch(texts)
    assert all(ids.dtype == np.int32 for ids in batch)
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch([]) == []


def test_ids_are_within_the_vocabulary_and_controls_count_no_bytes(tokenizer, corpus):
    ids = np.concatenate(tokenizer.encode_batch(corpus))
    assert ids.min() >= 0
    assert ids.max() < tokenizer.vocab_size
    counts = tokenizer.token_bytes()
    assert counts.shape == (tokenizer.vocab_size,)
    assert counts.dtype == np.int32
    assert set(np.flatnonzero(counts == 0)) == set(tokenizer.control.values())


def test_control_tokens_are_dropped_in_decoding_and_named_in_print(tokenizer):
    ids = tokenizer.encode("the river")
    assert tokenizer.decode([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]) == "the river"
    assert [tokenizer.piece(id) for id in (tokenizer.bos_id, tokenizer.eos_id)] == ["<bos>", "<eos>"]
    assert len(tokenizer.control) == 4 + 8
    assert all(tokenizer.piece(id).isprintable() for id in range(tokenizer.vocab_size))


def test_text_cut_before_a_line_encodes_as_its_parts(tokenizer, corpus):
    """What writers of shards rely on when they cut long documents."""
    text = "".join(corpus)
    parts = list(passages(text))
    assert len(parts) > 1
    assert list(chain.from_iterable(map(tokenizer.encode, parts))) == tokenizer.encode(text)
    first, second = "She said: \n \n\n", "'tis 5.\n"
    assert tokenizer.encode(first + second) == tokenizer.encode(first) + tokenizer.encode(second)


def test_a_token_is_longer_than_a_character_on_average(tokenizer, corpus):
    characters = sum(map(len, corpus)) / sum(len(text.encode()) for text in corpus)
    per_token = tokenizers.bytes_per_token(tokenizer, corpus) * characters
    assert per_token == 1 if tokenizer.kind == "char" else per_token > 1.6


def test_bytes_cut_inside_a_character_decode_to_the_replacement_character(lossless):
    ids = lossless.encode("\U0001f600")
    assert len(ids) == 4
    assert lossless.decode(ids[:2]) == "\ufffd"


def test_wordpiece_keeps_words_and_marks_unknown_ones(trained):
    wordpiece = trained["wordpiece"]
    assert not wordpiece.lossless
    assert wordpiece.decode(wordpiece.encode("The  old\nmiller walked")) == "The old miller walked"
    assert wordpiece.encode("☃") == [wordpiece.control["<unk>"]]
    pieces = [wordpiece.piece(id) for id in wordpiece.encode("walkedriver")]
    assert pieces[0][:2] != "##"
    assert all(piece.startswith("##") for piece in pieces[1:])


@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_the_file_is_one_that_hugging_face_reads(kind, directories, trained, corpus):
    from tokenizers import Tokenizer

    (entry,) = manifest.read(directories[kind]).files
    theirs = Tokenizer.from_file(str(directories[kind] / entry.name))
    assert theirs.get_vocab_size() == trained[kind].vocab_size
    for text in corpus:
        assert theirs.encode(text).ids == trained[kind].encode(text)
    control = trained[kind].control
    assert theirs.encode("<bos>").ids == [control["<bos>"]]  # their default, and why ours takes control tokens out
    assert json.loads((directories[kind] / entry.name).read_text())["added_tokens"][1]["content"] == "<bos>"


@pytest.mark.parametrize("kind", ["sentencepiece_bpe", "sentencepiece_unigram"])
def test_the_file_is_one_that_sentencepiece_reads(kind, directories, trained, corpus):
    from sentencepiece import SentencePieceProcessor

    (entry,) = manifest.read(directories[kind]).files
    theirs = SentencePieceProcessor(model_file=str(directories[kind] / entry.name))
    for text in corpus:
        assert theirs.encode(text) == trained[kind].encode(text)
        assert theirs.decode(trained[kind].encode(text)) == text


def test_importing_is_light():
    code = "import sys, lm.data.tokenizer; print(sorted({'tokenizers', 'sentencepiece', 'jax'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
