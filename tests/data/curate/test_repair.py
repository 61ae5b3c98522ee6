"""Mojibake is mended, invisible characters go, and code stays as it is."""

from __future__ import annotations

import pickle

import pytest

from lm.data.curate.document import Document
from lm.data.curate.repair import Repair, mend, tidy

ftfy = pytest.importorskip("ftfy")

TEXTS = {
    "de": "Der Bürgermeister dankte für ihre Geduld. »Jetzt ist es gut«, sagte er – und ging.",
    "fr": "L’été, la façade donne au sud ; « œuvre » créée à l’Élysée, où l’on a vu naître Noël.",
    "pl": "W ciągu ostatnich siedmiu dni poziom większości rzek obniżył się – „źle”, łódź.",
    "ru": "На восточном берегу озера «теперь каждый увидит», — сказал он. Всё…",
    "el": "Το παλιό ελαιοτριβείο στην είσοδο του χωριού. «Θέλαμε», λέει.",
    "zh": "茶馆建于九十年前，这次翻修保留了木楼梯。",
    "ja": "水槽を立ち上げて一週間ですが、水が白く濁ってきました。",
    "ar": "افتتحت بلدية المدينة صباح الأحد مكتبة عامة، على متن قارب قديم",
    "hi": "बावड़ी सीढ़ियों वाला वह गहरा कुआँ है",
    "vi": "Bà chủ thuyền bún mời chúng tôi ăn sáng.",
    "tr": "Otuz yıldır kullanılmayan taş fırın; “Çocukluğumun ekmeği”",
    "emoji": "Good morning ☕️ 👩‍🌾 naïve café, 20 °C, £5 or €6, 3½",
}
ENCODINGS = ["latin-1", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "iso8859-2", "mac-roman", "cp437"]


def repaired(text: str, **meta: str) -> Document:
    return Repair()(Document("a#0", text, "a", meta))


@pytest.mark.parametrize("language", TEXTS)
def test_what_is_right_stays_right(language: str) -> None:
    document = Document("a#0", TEXTS[language], "a")
    assert Repair()(document) is document


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mends_just_what_ftfy_mends(language: str, encoding: str) -> None:
    broken = TEXTS[language].encode().decode(encoding, "replace")
    text = f"first line\n{broken}\n{TEXTS[language]}\n\n{broken}"
    assert mend(text) == "\n".join(ftfy.fix_encoding(line) for line in text.split("\n"))


@pytest.mark.parametrize("language", ["de", "fr", "ru", "zh", "hi", "tr", "emoji"])
def test_mojibake_becomes_text_and_is_told(language: str) -> None:
    document = repaired(TEXTS[language].encode().decode("latin-1"))
    assert document.text == TEXTS[language]
    assert document.meta == {"repaired": True}


def test_mojibake_of_mojibake_and_lost_spaces() -> None:
    twice = TEXTS["de"].encode().decode("latin-1").encode().decode("latin-1")
    assert mend(twice) == TEXTS["de"]
    assert mend("voilÃ le travail, dÃ©jÃ fait") == "voilà le travail, déjà fait"


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("a\0b\x07c\x7f\x9f\ufeffd", "abcd"),
        ("a\r\nb\rc\x85d\u2028e\n", "a\nb\nc\nd\ne"),
        ("a  \t\n  b\u00a0\nc", "a\n  b\nc"),
        ("\n\na\n\n\n\n\n\nb\n\n\nc\n", "a\n\n\nb\n\n\nc"),
        ("a\n \n\t\n \n\nb", "a\n\n\nb"),
        ("می‌خواهم क्‍ष", "می‌خواهم क्‍ष"),  # joiners are letters' business
        ("", ""),
    ],
)
def test_tidies(text: str, tidied: str) -> None:
    assert tidy(text) == tidied
    assert tidy(tidied) == tidied


def test_composes_letters_unless_told_not_to() -> None:
    assert repaired("cafe\u0301").text == "café"
    assert Repair(normalise=False)(Document("a#0", "cafe\u0301", "a")).text == "cafe\u0301"


def test_lone_surrogates_do_not_survive() -> None:
    assert repaired("a\ud83d\ude00b\udc80").text == "a😀b\ufffd"


@pytest.mark.parametrize(
    "meta", [{"language_code": "python"}, {"content_type": "text/x-c"}, {"content_type": "application/json"}]
)
def test_code_keeps_what_an_editor_shows(meta: dict[str, str]) -> None:
    code = 'def f():\n\tx = "schÃ¶n cafe\u0301"   \n\n\n\n\n    return x\n'
    assert repaired(code, **meta).text == code
    assert repaired(code.replace("\n", "\r\n") + "\0", **meta).text == code
    assert "\tx = " in repaired(code).text


def test_repaired_twice_is_repaired_once() -> None:
    messy = "".join(text.encode().decode("latin-1") + " \r\n\0\n\n\n\n" + text for text in TEXTS.values())
    once = repaired(messy)
    assert Repair()(once) is once
    assert pickle.loads(pickle.dumps(Repair()))(Document("a#0", messy, "a")) == once
