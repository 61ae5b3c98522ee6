"""Token files made elsewhere: text is numbers, and control tokens lie above them."""

import pytest

from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import ids


def test_numbers_round_trip(tmp_path):
    ids.write(tmp_path, n_ids=100, end_id=None, inputs={"tokens.bin": "0"})
    made = tokenizers.load(tmp_path)
    assert made.kind == "ids"
    assert made.vocab_size == 104
    assert made.encode("5 99\n 0") == [5, 99, 0]
    assert made.decode([5, made.eos_id, 99, 0]) == "5 99 0"
    assert sorted(made.control.values()) == [100, 101, 102, 103]
    assert made.token_bytes().sum() == 0
    assert [made.piece(id) for id in (7, made.bos_id)] == ["7", "<bos>"]


def test_long_lines_of_numbers_are_not_cut_inside_one(tmp_path):
    made = ids.write(tmp_path, n_ids=60_000, end_id=None, inputs={})
    numbers = [12_345 + n for n in range(40_000)]
    assert made.encode(" ".join(map(str, numbers))) == numbers
    assert made.encode("\t".join(map(str, numbers))) == numbers


def test_the_files_own_end_token_is_the_end(tmp_path):
    made = ids.write(tmp_path, n_ids=100, end_id=50, inputs={})
    assert made.eos_id == 50
    assert made.vocab_size == 103
    assert made.decode([1, 50, 2]) == "1 2"
    with pytest.raises(UserError, match="'50' is not a token id of text"):
        made.encode("1 50")


@pytest.mark.parametrize("word", ["100", "-1", "x", "1.0", "²", "٣"])
def test_what_is_no_id_is_refused(word, tmp_path):
    made = ids.write(tmp_path, n_ids=100, end_id=None, inputs={})
    with pytest.raises(UserError, match="is not a token id of text; give numbers below 104"):
        made.encode(f"1 {word}")


def test_an_end_that_is_no_id_is_refused(tmp_path):
    with pytest.raises(UserError, match="end_id=100: not an id of the token files, which are 0 to 99"):
        ids.write(tmp_path, n_ids=100, end_id=100, inputs={})
    assert list(tmp_path.iterdir()) == []
