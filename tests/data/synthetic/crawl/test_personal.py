"""Planted personal data has right check digits and is nobody's."""

from __future__ import annotations

import ipaddress
import random
import re

import pytest

from lm.data.synthetic.crawl import personal
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.names import entities


@pytest.fixture
def cast() -> Cast:
    return Cast(random.Random(0), entities(0, "train"))


def luhn_sum(digits: str) -> int:
    """The checksum as ISO/IEC 7812-1 tells it, digit by digit from the right."""
    total = 0
    for place, digit in enumerate(digits[::-1]):
        value = int(digit)
        if place % 2 == 1:
            value *= 2
            if value > 9:
                value -= 9
        total += value
    return total


def iban_remainder(iban: str) -> int:
    moved = iban[4:] + iban[:4]
    return int("".join(str(ord(letter) - 55) if letter.isalpha() else letter for letter in moved)) % 97


def test_check_digits_of_published_examples() -> None:
    assert personal.luhn("7992739871") == 3
    assert personal.iban_check("GB", "WEST12345698765432") == "82"
    assert personal.iban_check("DE", "370400440532013000") == "89"


def test_cards_pass_luhn_and_decoys_do_not(cast: Cast) -> None:
    for _ in range(300):
        digits = re.sub(r"\D", "", personal.card(cast))
        assert len(digits) == 16
        assert luhn_sum(digits) % 10 == 0
    parcels = [re.findall(r"number (\d{16})", personal.decoy(cast)) for _ in range(300)]
    numbers = [found[0] for found in parcels if found]
    assert len(numbers) > 20
    assert all(luhn_sum(number) % 10 for number in numbers)


def test_ibans_have_remainder_one_and_their_country_s_length(cast: Cast) -> None:
    lengths = {"DE": 22, "GB": 22, "NL": 18, "FR": 27}
    for _ in range(300):
        iban = personal.iban(cast).replace(" ", "")
        assert len(iban) == lengths[iban[:2]]
        assert iban_remainder(iban) == 1


def test_addresses_are_from_documentation_ranges(cast: Cast) -> None:
    networks = [
        ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for _ in range(300):
        address = ipaddress.ip_address(personal.ip(cast))
        assert any(address in network for network in networks)
        assert re.search(r"@(?:\w+\.)?example\.(?:com|org|net)$", personal.email(cast))
        assert re.search(r"555-01\d\d$|7946 0\d\d\d$", personal.phone(cast))


def test_every_kind_is_planted_in_a_sentence(cast: Cast) -> None:
    kinds = set()
    for _ in range(200):
        sentence, found = personal.planted(cast)
        assert sentence.count(found.value) == 1
        kinds.add(found.kind)
    assert kinds == set(personal.PII_KINDS)
