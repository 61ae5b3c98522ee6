"""What bytes of a page are as text, whatever its headers say."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"<meta\b[^>]{0,512}?charset\s*=\s*[\"']?\s*([\w.:+-]{1,40})", re.IGNORECASE)
_META_WITHIN = 4096  # the standard looks at 1024 bytes; scripts often come first
_DETECT_WITHIN = 65536
# Supersets: what browsers read for the names, and what pages with these names hold.
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"}
_WESTERN = {"cp1252", "iso8859-15"}
_NOT_WESTERN = re.compile(rb"[\x80-\xff]{4}")


def decode(raw: bytes, charset: str | None = None) -> tuple[str, str]:
    """Returns the text and the encoding it was read in, under Python's name.

    In order: a byte order mark; UTF-8 where the bytes are UTF-8 (other encodings are so only by a rare accident,
    while wrong headers are common); what `charset` (of the HTTP header) and then the page's own <meta> say, where the
    bytes allow it; what detection finds. A header that says Latin-1, many servers' default, does not outweigh
    detection when letters beyond ASCII stand in rows. Bytes that fit nothing become U+FFFD.
    """
    from resiliparse.parse.encoding import detect_encoding

    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace"), encoding
    if encoding_16 := _utf16(raw):
        return raw.decode(encoding_16, "replace"), encoding_16
    declared = [name for name in map(_known, (charset, _meta_charset(raw))) if name]
    if _is_utf8(raw) and "iso2022_jp" not in declared:  # whose bytes are all ASCII
        return raw.decode("utf-8", "replace"), "utf-8"
    start = raw[:_DETECT_WITHIN]
    detected = _known(detect_encoding(start))
    if set(declared) <= _WESTERN and detected not in _WESTERN and len(_NOT_WESTERN.findall(start)) > 3:
        declared = []
    elif len(set(declared)) > 1 and detected in declared:
        declared = [detected]
    candidates = [name for name in (*declared, detected, "cp1252") if name and name != "utf-8"]
    encoding = next((name for name in candidates if _reads(raw, name)), candidates[0])
    return raw.decode(encoding, "replace"), encoding


def _utf16(raw: bytes) -> str | None:
    """UTF-16 without its mark: every second byte of the markup is NUL."""
    start = raw[:256]
    if b"\0" not in start:
        return None
    high, low = start[::2].count(0), start[1::2].count(0)
    most = max(high, low)
    return ("utf-16-be" if high > low else "utf-16-le") if most > 4 * min(high, low) and 4 * most > len(start) else None


def _meta_charset(raw: bytes) -> str | None:
    found = _META.search(raw, 0, _META_WITHIN)
    return found[1].decode("ascii", "ignore") if found else None


def _known(name: str | None) -> str | None:
    """Python's name of the encoding a browser would read for a label; None if none would.

    Only labels of the web pass, so that a header cannot name one of Python's stranger codecs.
    """
    from resiliparse.parse.encoding import map_encoding_to_html5

    known = map_encoding_to_html5(name.strip().strip("\"'"), False) if name else None
    if not known:
        return None
    known = _WIDER.get(known, known)
    try:
        return codecs.lookup(known).name
    except LookupError:
        return None


def _is_utf8(raw: bytes) -> bool:
    """True of bytes that are UTF-8 but for a few, as where a page was cut off or pasted together."""
    try:
        raw.decode("utf-8")
        return True
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        bad = text.count("\ufffd")
        return len(raw) - len(text) > 20 * bad  # each good letter beyond ASCII takes at least a byte more


def _reads(raw: bytes, encoding: str) -> bool:
    """True if at most one byte in a thousand does not fit the encoding."""
    return raw.decode(encoding, "replace").count("\ufffd") * 1000 <= len(raw)
