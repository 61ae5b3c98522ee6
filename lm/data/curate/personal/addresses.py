"""IP addresses that may be somebody's.

Addresses that are nobody's on the internet (private, loopback, link-local, multicast, reserved) stay, as in FineWeb
(Penedo et al., 2024). Those set aside for documentation go, so that examples and tests need no real ones.
"""

from __future__ import annotations

import ipaddress
import re

from lm.data.curate.personal.spans import Spans

_IP = re.compile(
    r"""[0-9](?<![\w.].)(?:
        (?<![+/-].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])
      | (?<=[23])(?<!:.)[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:]|\.[0-9])
    )""",
    re.VERBOSE,
)
_DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
_SMALL = 32  # four numbers below this are rather a version or a section
_VERSION_WORDS = re.compile(
    r"(?i)(?:\bv|\bver|version|release|build|update|patch|section|chapter|firmware|kernel|linux|§)[\W_]{0,3}$"
)
_IP_WORDS = re.compile(r"(?i)(?:\bip|ipv4|address|adresse|host|server|ping|gateway|dns)\b[^\n]{0,12}$")
_LOOK_BACK = 30


def find_ips(text: str) -> Spans:
    """Finds IPv4 and IPv6 addresses, but no version numbers, sections or times of the same shape."""
    for match in _IP.finditer(text):
        start, stop = match.span()
        before = text[max(0, start - _LOOK_BACK) : start]
        if _is_somebodys(match[0]) and not _is_version(match[0], before):
            yield start, stop


def _is_somebodys(digits: str) -> bool:
    try:
        address = ipaddress.ip_address(digits)
    except ValueError:
        return False
    if address.is_multicast or address.is_reserved:
        return False
    return address.is_global or any(address in ipaddress.ip_network(network) for network in _DOCUMENTATION)


def _is_version(digits: str, before: str) -> bool:
    if ":" in digits:
        return False
    if _VERSION_WORDS.search(before):
        return True
    return max(map(int, digits.split("."))) < _SMALL and not _IP_WORDS.search(before)
