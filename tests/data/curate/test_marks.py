"""Scripts written without spaces: whoever counts or compares words takes the same characters for words."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest

from lm.data.curate.benchmarks import Item
from lm.data.curate.dedup import hash_words
from lm.data.curate.leaks import Index, normalised_words
from lm.data.curate.marks import UNSPACED, UNSPACED_CLASS, character_class, unspaced_letters
from lm.data.curate.score import text_f1
from lm.data.curate.words import split_words

TEXTS = {
    "Thai": "แมวดำนอนหลับอยู่บนเก้าอี้ไม้ตัวใหญ่",
    "Lao": "ແມວດຳນອນຢູ່ເທິງຕັ່ງໄມ້ໃຫຍ່",
    "Khmer": "ឆ្មាខ្មៅកំពុងដេកលើកៅអីឈើធំ",
    "Burmese": "ကြောင်နက်သည်သစ်သားကုလားထိုင်ပေါ်တွင်အိပ်နေသည်",
    "Han": "小明有三个苹果他又买了五个苹果",
    "Han, extended": "𠀀𠀁𠀂𠀃𪛕𪛖𫝀𫝁𫠝𬀀𬀁𬺰𰀀𰀁",
    "kana": "ねこがいすのうえでねている",
}
each = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def decomposed(text: str) -> list[str]:
    return list(unicodedata.normalize("NFKC", text))


@each
def test_every_character_is_a_word_to_all(text: str) -> None:
    assert split_words(text) == list(text)
    assert normalised_words(f"So: {text}!") == ["so", *decomposed(text)]
    assert hash_words([text]).counts.tolist() == [len(decomposed(text))]
    first, second = hash_words([text]).hashes, hash_words([f"{text[:5]} {text[5:]}"]).hashes
    np.testing.assert_array_equal(first, second)


@each
def test_half_of_a_text_is_half_found(text: str) -> None:
    half = len(text) // 2
    assert text_f1(text[:half], text).recall == pytest.approx(half / len(text))
    assert text_f1(text[:half], text).precision == 1.0
    assert text_f1(f"word{text}", f"word {text}").f1 == 1.0  # also where another script touches it


@each
def test_leaks_are_found(text: str) -> None:
    index = Index.build([Item("a", (text,))])
    assert [leak.coverage for leak in index.find(normalised_words(f"x {text} y"), 1.0, 8)] == [1.0]
    edited = text[: len(text) // 2] + "7" + text[len(text) // 2 + 1 :]
    assert index.find(normalised_words(edited), 0.5, 8)
    for other in TEXTS.values():
        assert other == text or not index.find(normalised_words(other), 0.5, 8)


def test_punctuation_among_them_is_no_word() -> None:
    marks = "฿៚។၊။・〆"
    assert normalised_words(marks) == ["〆"]  # a letter
    assert text_f1(marks, "〆").f1 == 1.0
    assert hash_words([marks]).counts.tolist() == [1]


def test_classes_hold_what_their_ranges_do() -> None:
    everything, letters = re.compile(f"[{UNSPACED_CLASS}]"), re.compile(f"[{unspaced_letters()}]")
    for first, last in UNSPACED:
        for point in {first - 1, first, (first + last) // 2, last, last + 1}:
            inside = any(low <= point <= high for low, high in UNSPACED)
            assert bool(everything.match(chr(point))) == inside
            is_letter = unicodedata.category(chr(point))[0] in "LMN"
            assert bool(letters.match(chr(point))) == (inside and is_letter)


def test_a_class_has_the_characters_it_is_made_of() -> None:
    characters = "-09AC\\]^\u0e01\U00020000"
    made = re.compile(f"[{character_class(sorted(characters))}]")
    assert {chr(point) for point in range(0x30000) if made.match(chr(point))} == set(characters)
