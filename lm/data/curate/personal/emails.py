"""E-mail addresses, as they are written, and as they are written to be hard to read for machines."""

from __future__ import annotations

import re

from lm.data.curate.personal.spans import Spans, places

# Letters of the scripts that addresses are written in; not all of \w, as Chinese text has no space before an address.
_ALNUM = "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u04ff"
_LABEL = rf"[{_ALNUM}](?:[{_ALNUM}-]{{0,61}}[{_ALNUM}])?"
_SPELLED_DOT = (
    r"(?:\s?[\[({<]\s?(?i:dot|\.|punkt|punto|point|точка)\s?[\])}>]\s?|\s(?i:dot|punkt|punto|точка)\s|_(?i:dot)_)"
)
_NAME = re.compile(
    rf"(?:[{_ALNUM}]+{_SPELLED_DOT})*[{_ALNUM}_](?:[{_ALNUM}_.%+'-]*[{_ALNUM}_+-])?$"
)  # searched up to the sign
_MAX_NAME = 64

_TLD = rf"(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}}|рф|рус|укр|бг|ευ|ею)(?![{_ALNUM}_])"
_WRITTEN = re.compile(rf"(?:{_LABEL}\.)+(?P<tld>{_TLD})")
_SPELLED = re.compile(
    rf"(?:{_LABEL}\.)*{_LABEL}(?:{_SPELLED_DOT}{_LABEL})*?{_SPELLED_DOT}(?P<tld>{_TLD})(?!{_SPELLED_DOT}{_LABEL})"
)

_SIGNS = ("@", "＠", "&#64;", "&#064;", "&commat;")
_BRACKETED = re.compile(r"[\[({<][ ]?(?i:at|a|@|arroba|ät|собака)[ ]?[\])}>]")
_CLOSING = "])}>"
_SPACED = (" @ ", " AT ")
_WORDS = (" at ", " arroba ", " ät ", "_at_")
_DOT_WORDS = ("dot", "DOT", "Dot", "punto", "punkt", "точка", "[.]", "(.)", "{.}")

# What ends a name that is no domain: a file (`icon@2x.png`), or an attribute that is used (`weights@inputs.mean()`).
_FILES = re.compile(r"png|jpe?g|gif|svg|webp|bmp|ico|css|js|ts|py|json|html?|xml|txt|md|pdf|zip|gz|mp[34]")
_USED = re.compile(r"[(\[_]")
_COMMON = re.compile(
    "com|org|net|edu|gov|mil|int|info|biz|name|dev|app|io|ai|co|me|tv|xyz|online|site|tech|cloud|eu|us|uk|de|fr|es|it"
    "|nl|be|at|ch|se|no|dk|fi|pl|cz|pt|ie|ru|ua|gr|tr|in|cn|jp|kr|br|mx|ar|cl|ca|au|nz|za|hk|sg|tw"
)
_CREDENTIALS = re.compile(r"(?i)[a-z][a-z0-9+.-]*://[^\s/@]*$")  # of a URL: not mail, and for secrets to find
# Words that stand before `at` and a place on the web.
_NO_NAME = re.compile(
    "a|all|also|and|are|arrive|available|be|buy|check|contact|found|go|here|is|it|live|located|look|meet|more|now|on"
    "|online|only|out|page|read|see|shop|site|sold|start|store|the|them|there|this|up|us|visit|was|website|were|work"
)


def find_emails(text: str) -> Spans:
    """Finds addresses as written (`name@domain.tld`) and in the usual disguises (`name [at] domain dot tld`)."""
    found = sorted(_candidates(text))
    end = 0
    for start, stop in found:
        if start >= end:
            yield start, stop
            end = stop


def _candidates(text: str) -> Spans:
    for sign in _SIGNS:
        yield from _around(text, places(text, sign), (_SPELLED, _WRITTEN))
    yield from _around(text, (match.span() for match in _BRACKETED.finditer(text)), (_SPELLED, _WRITTEN))
    for sign in _SPACED:
        yield from _around(text, places(text, sign), (_SPELLED, _WRITTEN), common=True)
    if any(word in text for word in _DOT_WORDS):
        for sign in _WORDS:
            yield from _around(text, places(text, sign), (_SPELLED,), common=True)


def _around(text: str, signs: Spans, domains: tuple[re.Pattern[str], ...], *, common: bool = False) -> Spans:
    """Finds a name before each sign and a domain behind it, a space in between or not; `common`: of a common TLD."""
    for end, start in signs:
        if text[start - 1] in _CLOSING:
            end, start = end - (text[end - 1 : end] == " "), start + (text[start : start + 1] == " ")
        before = text[end - 1 : end]
        if not (before.isalnum() or before in ("_", "-", "+")):
            continue
        domain = next(filter(None, (pattern.match(text, start) for pattern in domains)), None)
        name = domain and _NAME.search(text, max(0, end - _MAX_NAME), end)
        if name and domain and _is_address(text, name, domain, common):
            yield name.start(), domain.end()


def _is_address(text: str, name: re.Match[str], domain: re.Match[str], common: bool) -> bool:
    tld, follows = domain["tld"].lower(), text[domain.end() : domain.end() + 2]
    if common and (not _COMMON.fullmatch(tld) or _NO_NAME.fullmatch(name[0].lower())):
        return False
    if _FILES.fullmatch(tld) or (_USED.match(follows) and not _COMMON.fullmatch(tld)):
        return False
    if name[0] == "git" and follows[:1] in (":", "/"):  # a repository
        return False
    return not _CREDENTIALS.search(text, max(0, name.start() - 100), name.start())
