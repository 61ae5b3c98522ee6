"""Bank accounts and payment cards: numbers whose own checksum says that they are meant."""

from __future__ import annotations

import re

from lm.data.curate.personal.spans import Spans

# Length by country, of the SWIFT registry of ISO 13616.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
# Begins at a digit, which is rare in prose, and looks back for the country; takes two digits alone, as what follows an
# account may be the next one.
_IBAN = re.compile(r"[0-9](?<=[A-Za-z]{2}[0-9])(?<![\w.][A-Za-z]{2}[0-9])[0-9](?=((?:[ \u00a0-]?[A-Za-z0-9]){11,30}))")

_CARD = re.compile(
    r"""[2-6](?<![\w.\-+/][2-6])(?:
        [0-9]{3}([ .\u00a0-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(\1[0-9]{3})?   # 4-4-4-4, or 4-4-4-4-3
      | [0-9]{3}([ .\u00a0-])[0-9]{6}\3[0-9]{4,5}                        # 4-6-5 (American Express), 4-6-4 (Diners)
      | [0-9]{11,18}
    )(?![\w%]|[.,/-][0-9])""",
    re.VERBOSE,
)
# Issuer prefixes and the lengths that they issue (ISO/IEC 7812).
_ISSUERS = re.compile(
    r"""4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})                                                  # Visa
      | (?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}    # Mastercard
      | 3[47][0-9]{13}                                                                      # American Express
      | (?:6011[0-9]{2}|64[4-9][0-9]{3}|65[0-9]{4})[0-9]{10,13}                             # Discover
      | 3(?:0[0-59]|[689][0-9])[0-9]{11}                                                    # Diners Club
      | 35(?:2[89]|[3-8][0-9])[0-9]{12,15}                                                  # JCB
      | 62[0-9]{14,17}                                                                      # UnionPay
      | (?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15}                               # Maestro
    """,
    re.VERBOSE,
)
# A bare number of another length than 15 or 16 may be a barcode or an id: only the words before it tell.
_CARD_WORDS = re.compile(r"(?i)(?:card|visa|maestro|diners|unionpay|karte|carte|tarjeta|carta|银行卡)\W*[^\d\n]{0,30}$")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def find_ibans(text: str) -> Spans:
    """Finds bank accounts by country, length and check digits (mod 97), in groups or not."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
        stop = _after_characters(text, start, match.end(1), length)
        if stop and _is_iban(re.sub(r"[^A-Za-z0-9]", "", text[start:stop]).upper()):
            yield start, stop


def find_cards(text: str) -> Spans:
    """Finds card numbers by issuer, length and check digit (Luhn), in the groups printed on cards or bare."""
    for match in _CARD.finditer(text):
        for stop in (match.end(), match.start(2)):  # three more digits may be the security code of a card of 16
            digits = re.sub(r"[^0-9]", "", text[match.start() : stop]) if stop > 0 else ""
            if _is_card(digits) and (
                len(digits) in (15, 16)
                or len(digits) < stop - match.start()
                or _CARD_WORDS.search(text, max(0, match.start() - 60), match.start())
            ):
                yield match.start(), stop
                break


def _after_characters(text: str, start: int, limit: int, count: int) -> int:
    """Returns where the first `count` letters and digits end, if a word ends there too, else 0."""
    positions = [at for at in range(start, limit) if text[at].isalnum()]
    if not 0 < count <= len(positions):
        return 0
    stop = positions[count - 1] + 1
    return 0 if text[stop : stop + 1].isalnum() else stop


def _is_iban(code: str) -> bool:
    return int("".join(str(int(character, 36)) for character in code[4:] + code[:4])) % 97 == 1


def _is_card(digits: str) -> bool:
    if not _ISSUERS.fullmatch(digits):
        return False
    return (sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0
