"""Bytes are read as what they are, whatever was said of them."""

from __future__ import annotations

import pytest

from lm.data.curate.extract.charset import decode

pytest.importorskip("resiliparse")

RUSSIAN = "<p>На восточном берегу озера начала работу новая метеостанция, она измеряет ветер и воду.</p>"
JAPANESE = "<p>水槽を立ち上げて一週間ですが、水が白く濁ってきました。このまま様子を見ても大丈夫でしょうか。</p>"
GERMAN = "<p>Der Bürgermeister dankte den Anwohnern für ihre Geduld; die Bäckerei mußte schließen.</p>"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides(encoding: str) -> None:
    assert decode(RUSSIAN.encode(encoding), "windows-1251")[0] == RUSSIAN


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark(encoding: str) -> None:
    assert decode(GERMAN.encode(encoding)) == (GERMAN, encoding)


@pytest.mark.parametrize("text", [RUSSIAN, JAPANESE, GERMAN])
@pytest.mark.parametrize(
    "lie", [None, "iso-8859-1", "windows-1251", "shift_jis", "gb2312", "no-such-thing", "rot13", ""]
)
def test_utf8_is_known_by_its_bytes(text: str, lie: str | None) -> None:
    assert decode(text.encode(), lie) == (text, "utf-8")


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "KOI8-R"),
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (JAPANESE, "iso2022_jp", "iso-2022-jp"),
        (GERMAN, "cp1252", "latin1"),
        ("<p>“price”: 5 €</p>", "cp1252", "iso-8859-1"),
        ("<p>茶馆镕堃</p>", "gb18030", "gb2312"),
    ],
)
def test_header_or_meta_tell(text: str, encoding: str, said: str) -> None:
    assert decode(text.encode(encoding), f' "{said}" ') == (text, encoding)
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={said}">{text}'
    assert decode(page.encode(encoding)) == (page, encoding)


@pytest.mark.parametrize(("text", "encoding"), [(RUSSIAN, "cp1251"), (JAPANESE, "cp932"), (JAPANESE, "euc_jp")])
@pytest.mark.parametrize("lie", [None, "utf-8", "iso-8859-1", "windows-1252", "utf-7"])
def test_what_was_not_said_or_not_true_is_detected(text: str, encoding: str, lie: str | None) -> None:
    page = f"<html><body>{text * 3}</body></html>"
    assert decode(page.encode(encoding), lie)[0] == page


def test_of_two_that_disagree_detection_takes_the_likelier() -> None:
    page = f'<meta charset="windows-1251">{RUSSIAN * 3}'
    assert decode(page.encode("cp1251"), "koi8-r") == (page, "cp1251")


def test_utf8_cut_off_or_pasted_together_stays_utf8() -> None:
    assert decode(RUSSIAN.encode()[:-6])[1] == "utf-8"
    assert decode(RUSSIAN.encode() + b" caf\xe9")[0] == RUSSIAN + " caf\ufffd"


@pytest.mark.parametrize("raw", [b"", b"\0", b"\xff", b"\x81\x8d", b"\xff\xfe", bytes(range(256))])
@pytest.mark.parametrize("said", [None, "utf-16", "x-user-defined", "\0", "utf-8; q=1", "é"])
def test_any_bytes_are_text_of_some_kind(raw: bytes, said: str | None) -> None:
    text, encoding = decode(raw, said)
    assert text.encode("utf-8") is not None
    assert "x".encode(encoding)
