"""Personal data and secrets that belong to nobody: documentation ranges where there are any, right check digits.

Telephone numbers are from the ranges kept for fiction (555-01xx; Ofcom's drama numbers), addresses from
RFC 5737 and RFC 3849, mail domains from RFC 2606; tokens are put together here and open nothing.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lm.data.synthetic.grammar import Cast


class Planted(NamedTuple):
    """A piece of personal data: its kind and the exact characters that stand in the text."""

    kind: str
    value: str


def _digits(cast: Cast, n: int) -> str:
    return "".join(cast.one(string.digits) for _ in range(n))


def _token(cast: Cast, n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(cast.one(alphabet) for _ in range(n))


def luhn(digits: str) -> int:
    """Returns the check digit that completes a card number (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (2 if i % 2 == 0 else 1) for i, digit in enumerate(reversed(digits)))
    return -sum(n - 9 if n > 9 else n for n in doubled) % 10


def iban_check(country: str, account: str) -> str:
    """Returns the two check digits of an IBAN (ISO 13616, ISO 7064 mod 97-10)."""
    numbers = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{98 - int(numbers) % 97:02d}"


def email(cast: Cast) -> str:
    """Returns a mail address in a domain kept for examples."""
    name, other = (person.lower() for person in cast.people(2))
    local = cast.one((name, f"{name}.{other}", f"{name[0]}.{other}", f"{name}+{cast.number(1, 99)}", f"{name}_{other}"))
    return f"{local}@{cast.one(('example.com', 'example.org', 'mail.example.net', 'post.example.org'))}"


def phone(cast: Cast) -> str:
    """Returns a telephone number from a range kept for fiction."""
    area, line = cast.one((202, 206, 303, 312, 404, 415, 503, 512, 617, 713, 808, 907)), f"01{_digits(cast, 2)}"
    british = f"7946 0{_digits(cast, 3)}"
    return cast.one(
        (f"({area}) 555-{line}", f"+1 {area}-555-{line}", f"{area}-555-{line}", f"020 {british}", f"+44 20 {british}")
    )


def ip(cast: Cast) -> str:
    """Returns an address from the blocks kept for documentation, one in five of version 6."""
    if cast.chance(0.2):
        return f"2001:db8:{_token(cast, 4, 'abcdef123456789')}::{_token(cast, 3, 'abcdef123456789')}"
    return f"{cast.one(('192.0.2', '198.51.100', '203.0.113'))}.{cast.number(1, 254)}"


_ACCOUNTS: tuple[tuple[str, str, int], ...] = (("DE", "", 18), ("GB", "TEST", 14), ("NL", "TEST", 10), ("FR", "", 23))


def iban(cast: Cast) -> str:
    """Returns an account number with right check digits, in groups of four or in one piece."""
    country, bank, digits = cast.one(_ACCOUNTS)
    account = bank + _digits(cast, digits)
    whole = f"{country}{iban_check(country, account)}{account}"
    return " ".join(whole[i : i + 4] for i in range(0, len(whole), 4)) if cast.chance(0.5) else whole


def card(cast: Cast) -> str:
    """Returns a card number of 16 digits with a right check digit."""
    digits = cast.one(("411111", "424242", "555555", "520082")) + _digits(cast, 9)
    whole = f"{digits}{luhn(digits)}"
    separator = cast.one(("", " ", "-"))
    return separator.join(whole[i : i + 4] for i in range(0, 16, 4))


def secret(cast: Cast) -> str:
    """Returns a token in the form of a well-known service's keys."""
    upper = string.ascii_uppercase + string.digits
    return cast.one(
        (
            "AK" + "IA" + _token(cast, 16, upper.translate(str.maketrans("", "", "0189"))),
            "gh" + "p_" + _token(cast, 36),
            "sk" + "_live_" + _token(cast, 24),
            "xox" + f"b-{_digits(cast, 12)}-{_digits(cast, 12)}-{_token(cast, 24)}",
        )
    )


_KINDS: Mapping[str, tuple[Callable[[Cast], str], tuple[str, ...]]] = {
    "email": (email, ("Write to {value} for details.", "Questions go to {value}, please.", "Contact: {value}.")),
    "phone": (phone, ("Call us on {value} after six.", "The number of the hall is {value}.", "Phone {value} to book.")),
    "ip": (ip, ("The request came from {value} last night.", "Log in to the host at {value} first.")),
    "iban": (iban, ("Please pay into the account {value} by Friday.", "Donations: {value}.")),
    "card": (card, ("The card {value} was charged twice.", "Paid with card {value} at the counter.")),
    "secret": (secret, ("The script still has the key {value} in it.", "Set the token to {value} before you start.")),
}
PII_KINDS: tuple[str, ...] = tuple(_KINDS)
"""Every kind of personal data that is planted."""

_DECOYS = (
    "Version {a}.{b}.{c} mends a fault of version {a}.{c}.{b}.",
    "The order number {a}{b}{c}-{b}{a} is printed on the box.",
    "On 2026-0{a}-1{b} at 1{a}:3{b} the {a}{b}{c} tickets were gone.",
    "Between 19{a}{b} and 20{b}{a} the town grew from {b},{a}{c}0 to {c},{a}{b}0 people.",
    "The parcel has the number {card}, which is no card's.",
    "The book, ISBN 978-0-{a}{b}{c}{a}-{b}{c}{a}{b}-{c}, was printed in 19{a}{b}.",
)


def planted(cast: Cast) -> tuple[str, Planted]:
    """Returns a sentence and the personal data in it."""
    kind = cast.one(PII_KINDS)
    make, sentences = _KINDS[kind]
    value = make(cast)
    return cast.one(sentences).format(value=value), Planted(kind, value)


def decoy(cast: Cast) -> str:
    """Returns a sentence with numbers that identify nobody."""
    digits = f"4111{_digits(cast, 11)}"
    wrong = f"{digits}{(luhn(digits) + cast.number(1, 9)) % 10}"
    return cast.one(_DECOYS).format(a=cast.number(1, 9), b=cast.number(0, 9), c=cast.number(1, 9), card=wrong)
