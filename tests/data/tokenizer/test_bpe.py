"""The readable BPE by hand-worked examples, and the fast byte-level tokenizer against it."""

import json
from collections import Counter

import pytest

from lm.common import manifest
from lm.data.tokenizer.bpe import BPE, count_pairs, merge, words


def test_merges_of_the_textbook_example():
    """aaabdaaabac: aa, then ab (a tie with aa+a, which has the higher id), then aa+ab."""
    bpe = BPE.train(["aaabdaaabac"], n_merges=10)
    a, b, c, d = b"abcd"
    assert bpe.merges == [(a, a), (a, b), (256, 257)]
    assert bpe.encode("aaabdaaabac") == [258, d, 258, a, c]
    assert bpe.pieces()[256:] == [b"aa", b"ab", b"aaab"]
    assert bpe.vocab_size == 259


def test_training_stops_where_nothing_repeats():
    assert BPE.train(["abcdef"], n_merges=5).merges == []


def test_merge_goes_from_left_to_right():
    assert merge((1, 1, 1, 2), (1, 1), 9) == (9, 1, 2)
    assert merge((1, 1, 1, 1), (1, 1), 9) == (9, 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello world, it's\n", ["Hello", " world", ",", " it", "'s", "\n"]),
        (" 19!\n\n  x", [" ", "1", "9", "!\n\n", " ", " x"]),
        ("snake_case 'so'", ["snake", "_", "case", " '", "so", "'"]),
        ("a  \n\tb", ["a", "  \n", "\tb"]),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_numbers_come_in_threes_unless_split():
    assert words("12345", split_digits=False) == ["123", "45"]


def test_words_are_the_whole_text(corpus):
    for text in [*corpus, "\0\x1c\u2028\ufffe_\u0301 ½ \U0010ffff'S"]:
        assert "".join(words(text)) == text


def test_round_trip(corpus):
    bpe = BPE.train(corpus[:10], n_merges=60)
    for text in corpus[:3]:
        ids = bpe.encode(text)
        assert len(ids) < len(text.encode())
        assert bpe.decode(ids) == text


@pytest.fixture(scope="module")
def fast_model(directories):
    (entry,) = manifest.read(directories["byte_bpe"]).files
    return json.loads((directories["byte_bpe"] / entry.name).read_text())["model"]


def test_every_merge_of_the_fast_tokenizer_was_the_most_frequent_pair(fast_model, trained, corpus):
    fast = trained["byte_bpe"]
    id_of_byte = {fast._pieces[id]: id for id in range(len(fast.control), len(fast.control) + 256)}
    seen = Counter(word for text in corpus for word in words(text))
    counts = {tuple(id_of_byte[bytes([b])] for b in word.encode()): count for word, count in seen.items()}
    assert len(fast_model["merges"]) == fast.vocab_size - len(fast.control) - 256
    for n, (left, right) in enumerate(fast_model["merges"]):
        pair = fast_model["vocab"][left], fast_model["vocab"][right]
        pairs = count_pairs(counts)
        assert pairs[pair] == max(pairs.values()), f"merge {n}"
        counts = {merge(word, pair, fast_model["vocab"][left + right]): count for word, count in counts.items()}


def test_the_fast_tokenizer_encodes_as_the_readable_one(fast_model, trained, corpus):
    """With the same merges both cut every text into the same pieces."""
    fast = trained["byte_bpe"]
    first = len(fast.control)
    byte_of = {id: fast._pieces[id][0] for id in range(first, first + 256)}
    own = {id: byte_of.get(id, id - first) for id in range(first, fast.vocab_size)}
    vocabulary = fast_model["vocab"]
    bpe = BPE([(own[vocabulary[left]], own[vocabulary[right]]) for left, right in fast_model["merges"]])
    for text in [*corpus[:8], "Unseen words: zyzzyva's 2024 __init__\r\n\t\tx  =  'ü' ▁ <bos>"]:
        assert bpe.encode(text) == [own[id] for id in fast.encode(text)]
