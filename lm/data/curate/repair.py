"""Text that was decoded, stored or pasted wrongly, put right."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from lm.data.curate.document import Document

_LINE_ENDS = re.compile("[\r\x85\u2028\u2029](?:(?<=\r)\n)?")  # a class first, which is searched for fast
_UNWANTED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_EMPTY_LINES = re.compile(r"\n{4,}")
_CODE_TYPES = re.compile(r"text/(?:x-|css|javascript)|application/(?:json|javascript|x-(?!www))")
# The encodings that UTF-8 is mistaken for.
_MISTAKEN = ("latin-1", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "iso8859-2", "mac-roman", "cp437")


@dataclass(frozen=True)
class Repair:
    """Mends mojibake (UTF-8 read as something else, by ftfy) and tidies up: NFC, control characters, line ends,
    white space at the end of lines, more than two empty lines.

    `meta["repaired"]` is True if there was mojibake. Source code (with `meta["language_code"]`, or a content type
    such as `text/x-python`) only loses what no editor shows: control characters and other line ends than a newline.
    """

    normalise: bool = True  # to Unicode's form NFC
    name: ClassVar[str] = "repair"

    def __call__(self, document: Document) -> Document:
        text = document.text
        if not text.isascii() and _SURROGATES.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "language_code" in document.meta or _CODE_TYPES.match(str(document.meta.get("content_type", ""))):
            text = _plain(text)
            return document if text == document.text else document.changed(text)
        mended = mend(text)
        tidied = tidy(mended)
        if self.normalise and not unicodedata.is_normalized("NFC", tidied):
            tidied = unicodedata.normalize("NFC", tidied)
        if mended != text:
            return document.changed(tidied, repaired=True)
        return document if tidied == document.text else document.changed(tidied)


def mend(text: str) -> str:
    """Mends mojibake line by line.

    ftfy reads a few megabytes a second; so it is only shown lines that hold the bytes of a letter of UTF-8, each read
    as a character of one of the encodings it is mistaken for.
    """
    if text.isascii():
        return text
    suspicious = _suspicious_places(text)
    if not len(suspicious):
        return text
    from ftfy import fix_encoding

    parts, done = [], 0
    for place in suspicious:
        if place >= done:
            start, end = text.rfind("\n", done, place) + 1 or done, text.find("\n", place)
            end = len(text) if end < 0 else end
            parts += [text[done:start], fix_encoding(text[start:end])]
            done = end
    return "".join([*parts, text[done:]])


def tidy(text: str) -> str:
    """Removes control characters and white space that nobody sees; lines end in a newline."""
    lines = [line.rstrip() for line in _plain(text).split("\n")]
    tidied = "\n".join(lines)
    if "\n\n\n\n" in tidied:
        tidied = _EMPTY_LINES.sub("\n\n\n", tidied)
    return tidied.strip("\n")


def _plain(text: str) -> str:
    return _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))


def _suspicious_places(text: str) -> np.ndarray:
    """Where the characters of a misread letter begin."""
    leads, follows = _tables()
    wide = np.frombuffer((text + "\0\0\0").encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = np.minimum(wide, 0xFFFF).astype(np.uint16)
    following = follows[codes]
    found = leads[codes[:-3]] & following[1:-2]
    found &= following[2:-1] | _OF_TWO
    found &= following[3:] | _OF_TWO | _OF_THREE
    return np.flatnonzero(found)


# Bits of the tables: each encoding has one for letters of two bytes, one for three, one for four.
_OF_TWO = np.uint32(0x3FF)
_OF_THREE = np.uint32(0x3FF << 10)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each character the encodings in which it is the first byte of a letter of UTF-8, and a later one."""
    leads, follows = np.zeros(1 << 16, np.uint32), np.zeros(1 << 16, np.uint32)
    for place, encoding in enumerate(_MISTAKEN):
        for table, first, last, bits in (
            (leads, 0xC2, 0xDF, 1),
            (leads, 0xE0, 0xEF, 1 << 10),
            (leads, 0xF0, 0xF4, 1 << 20),
            (follows, 0x80, 0xBF, 1 | 1 << 10 | 1 << 20),
        ):
            read = bytes(range(first, last + 1)).decode(encoding, "ignore")
            table[[ord(character) for character in read]] |= np.uint32(bits << place)
    # Bytes that an encoding leaves out are read as themselves, or are lost; A0, a space, becomes a common one.
    follows[[*range(0x80, 0xA0), 0xFFFD]] = 0x3FFFFFFF
    leads[[ord(quote) for quote in "“”‘’"]] = 0  # in French one before é is no Armenian letter read as Mac Roman
    follows[0x20] = 1 << _MISTAKEN.index("cp1252")
    return leads, follows
