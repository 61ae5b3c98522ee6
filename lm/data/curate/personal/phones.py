"""Phone numbers: digits in a shape that phone numbers are written in, or behind a word that says so."""

from __future__ import annotations

import re

from lm.data.curate.personal.spans import Spans

_DASH = r"\-\u2010\u2011\u2012\u2013"
_GAP = r"[ \u00a0./()" + _DASH + "]"
_DIGITS = r"[0-9 \u00a0./()" + _DASH + "]"
_EXTENSION = r"(?:[ ,;]{0,2}(?i:ext(?:ension)?\.?|durchwahl|poste|x|\#)[ :.]{0,2}[0-9]{1,6}(?!\w))?"
_ALONE = r"(?<![0-9][ ].)"  # no number before it, as in a row of a table
_END = r"(?![\w%]|[.,:/" + _DASH + r"][0-9])"

# Every search begins at one character of a small set: text without digits is passed over at the speed of memory.
_SHAPED = re.compile(
    rf"""[+(0-9](?<![\w$€£].)(?<![/{_DASH}][(0-9])(?<![0-9][.,].)(?={_DIGITS}{{8}})(?:
        (?<=\+)(?:{_ALONE}[ ](?=[1-9][0-9]{{0,2}}[ ]))?
            (?P<international>[1-9](?:{_GAP}{{0,3}}[0-9]){{7,14}}(?<=[0-9]{{2}}))
      | (?<=0){_ALONE}(?:0|11[ {_DASH}])(?P<dialled>[1-9][0-9]{{0,3}}{_GAP}(?:{_GAP}{{0,2}}[0-9]){{6,13}})
      | (?<=0){_ALONE}(?P<national>[1-9][0-9]{{0,4}}(?:[ ]?[ /.{_DASH}][ ]?[0-9]{{2,8}}){{1,5}})
      | (?<=\()0[1-9][0-9]{{0,4}}\)[ ]?[/{_DASH}]?[ ]?[0-9]{{2,8}}(?:[ {_DASH}][0-9]{{2,5}}){{0,4}}
      | (?<=\()[1-9][0-9]{{2}}\)[ ]?[.{_DASH}]?[ ]?[0-9]{{3}}
            (?:[ .{_DASH}]?[0-9]{{4}}|[ {_DASH}][0-9]{{2}}[ {_DASH}][0-9]{{2}})
      | (?<=\(){_ALONE}[1-9][0-9]\)[ ]?9?[0-9]{{4}}[ {_DASH}][0-9]{{4}}
      | (?<=[1-9])[0-9]{{2}}(?P<by>[ ]?[.{_DASH}][ ]?)[0-9]{{3}}(?P=by)[0-9]{{4}}
      | (?<=[2-9])[0-9]{{2}}[ ./{_DASH}][0-9]{{3}}[{_DASH}][0-9]{{4}}
      | (?<=1)[ .{_DASH}][(]?[2-9][0-9]{{2}}[)]?[ .{_DASH}]{{1,2}}[0-9]{{3}}[ .{_DASH}][0-9]{{4}}
      | (?<=8)[ {_DASH}]?[(]?[0-9]{{3}}[)]?[ {_DASH}]?[0-9]{{3}}[ {_DASH}][0-9]{{2}}[ {_DASH}][0-9]{{2}}
      | {_ALONE}(?:
            (?<=[2-9])[0-9]{{2}}[ ][0-9]{{3}}[ ][0-9]{{4}}
          | (?<=1)[3-9][0-9][ {_DASH}][0-9]{{4}}[ {_DASH}][0-9]{{4}}
        )(?![ ]?[0-9])
    ){_END}{_EXTENSION}""",
    re.VERBOSE,
)
_BARE = re.compile(
    rf"[(0-9](?<![\w$€£/{_DASH}].)(?<![0-9][.,].)(?={_DIGITS}{{6}})(?:{_GAP}{{0,2}}[0-9]){{6,14}}{_END}{_EXTENSION}"
)
_SAID = re.compile(
    r"""(?ix)(?:\b(?:tel|telephone|telefon\w*|tél|téléphone|teléfono|telefone|telefono|phone|call|dial|sms|fax
        |text[ ](?:me|us)|mobile|mobil|cell|cellphone|celular|móvil|portable|handy|hotline|helpline|whatsapp|landline
        |rufnummer|тел|телефон)
        |电话|手机|電話|携帯)
        (?:[\s.:=()"'+、：-]|numbers?|no|nr|num|us|me|him|her|at|on|is|or|line|fax|номер|号码|番号){0,10}$"""
)
_LOOK_BACK = 40

_COUNTRY = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[2-9][0-9]{2}")
_ONE_LENGTH = {"1": 11, "7": 11}
_ZERO_KEPT = frozenset(("39", "225", "241", "242", "378"))  # national numbers there begin with 0
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:[ .][0-9]{3})+")
_DATE = re.compile(
    r"""(?:(?:0?[1-9]|[12][0-9]|3[01])([./-])(?:0?[1-9]|[12][0-9]|3[01])\1(?:19|20)?[0-9]{2}
      | (?:19|20)[0-9]{2}([./-])(?:0?[1-9]|1[012])\2(?:0?[1-9]|[12][0-9]|3[01]))(?![0-9]|[./-][0-9])""",
    re.VERBOSE,
)
_POSTCODE = re.compile(r"[0-9]{5}-[0-9]{4}$")  # of the United States, some of which begin with 0


def find_phones(text: str) -> Spans:
    """Finds numbers in international form, in the groups of common national forms, or behind a word such as `phone`."""
    end = 0
    for start, stop in sorted((*_shaped(text), *_announced(text))):
        if start >= end:
            yield start, stop
            end = stop


def _shaped(text: str) -> Spans:
    for match in _SHAPED.finditer(text):
        start, stop = match.span()
        abroad = match["international"] or match["dialled"]
        if abroad:
            surplus = _surplus(abroad)
            if surplus is not None:
                yield start, stop - surplus
        elif match["national"] is None or _is_national(f"0{match['national']}"):
            yield start, stop


def _announced(text: str) -> Spans:
    for match in _BARE.finditer(text):
        start, stop = match.span()
        if _SAID.search(text, max(0, start - _LOOK_BACK), start) and not _DATE.match(match[0]):
            yield start, stop


def _surplus(number: str) -> int | None:
    """Returns how many characters behind a number that starts with a country code are not its own; None: no number."""
    digits = re.sub(r"[^0-9]", "", number)
    country = _COUNTRY.match(digits)
    if country is None or _DATE.match(number):
        return None
    code, rest = country[0], digits[country.end() :]
    if rest.startswith("0") and code not in _ZERO_KEPT and _THOUSANDS.fullmatch(number):
        return None
    if _is_decimal(number) or (code != "1" and "." in number and "-" in number):  # the latter: a position on the globe
        return None
    if code in _ONE_LENGTH:
        return _behind(number, _ONE_LENGTH[code])
    return 0 if len(digits) >= 9 else None


def _behind(number: str, count: int) -> int | None:
    """Returns the number of characters behind the first `count` digits; None if those do not end a group."""
    positions = [at for at, character in enumerate(number) if character.isdigit()]
    if len(positions) < count or (len(positions) > count and positions[count] == positions[count - 1] + 1):
        return None
    return len(number) - positions[count - 1] - 1


def _is_national(number: str) -> bool:
    """Says whether digits that begin with one 0 are grouped as a phone number, not as a date or a decimal."""
    digits, gaps = re.sub(r"[^0-9]", "", number), re.findall(r"[^0-9]+", number)
    return (
        9 <= len(digits) <= 12
        and len(set(gaps[1:])) <= 1
        and not _is_decimal(number)
        and not _POSTCODE.match(number)
        and not _DATE.match(number)
    )


def _is_decimal(number: str) -> bool:
    """Says whether a number may be a decimal: one dot, and fewer digits behind it than in `+49.301234567` (WHOIS)."""
    whole, _, places = number.partition(".")
    return whole.isdigit() and places.isdigit() and len(places) < 9
