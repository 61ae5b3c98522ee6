"""Secrets in code and configuration: keys, tokens and passwords become `<SECRET>`; what names them stays.

Tokens with a fixed form are known by it. A value that is merely assigned to something called `password` or `api_key`
must look drawn at random: long enough, of several classes of characters, of high entropy, and no template.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from lm.data.curate.document import Document
from lm.data.curate.personal.spans import Spans, places, replace_spans
from lm.data.curate.pii import redacted

PLACEHOLDER = "<SECRET>"


@dataclass(frozen=True)
class RemoveSecrets:
    """Replaces every secret by `<SECRET>`, and counts them in `meta["pii"]["secret"]`.

    `min_entropy` is the least a value assigned to a name such as `token` must have, in bits per character (Shannon).
    """

    min_entropy: float = 3.0  # bits a character of what is assigned to a password or key
    name: str = "secrets"

    def __call__(self, document: Document) -> Document:
        text, count = document.text, 0
        for secret in _SECRETS:
            if any(needle in text for needle in secret.needles):
                text, found = replace_spans(text, secret.find(text), PLACEHOLDER)
                count += found
        text, found = replace_spans(text, _assigned(text, self.min_entropy), PLACEHOLDER)
        count += found
        return redacted(document, text, {"secret": count})


class _Secret(NamedTuple):
    """A form of secret: words of which one stands in every text that holds it, and the form itself.

    What the group `secret` takes is replaced, or all of the match.
    """

    needles: tuple[str, ...]
    form: re.Pattern[str]

    def find(self, text: str) -> Spans:
        group = "secret" if "secret" in self.form.groupindex else 0
        return (match.span(group) for match in self.form.finditer(text))


def _token(form: str, *needles: str) -> _Secret:
    """Returns a form that stands alone, its needles being what it may begin with."""
    return _Secret(needles, re.compile(rf"(?<![A-Za-z0-9_])(?:{form})(?![A-Za-z0-9_])"))


_SECRETS = (
    # private keys: the whole block, or as much as is left of one that was cut off
    _Secret(
        ("PRIVATE KEY",),
        re.compile(
            r"""-----BEGIN[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY(?:[ ]BLOCK)?-----(?:
                  (?:[\w+/=\s\\:,.()"']|-(?!-)){40,20000}?-----END[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY(?:[ ]BLOCK)?-----
                | (?:[\s\\nr"'+>#*]*[A-Za-z0-9+/=]{32,})+)""",
            re.VERBOSE,
        ),
    ),
    # the password of a URL such as postgres://user:password@host
    _Secret(
        ("://",),
        re.compile(r"""://[^\s:/@"'<>]{0,64}:(?!%s|\*|\.\.\.|x{3,}@)(?P<secret>[^\s@/"'<>{}$]{2,128})@(?=[\w\[])"""),
    ),
    _token(r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}", "AKIA", "ASIA", "AGPA", "AIDA", "AROA",
           "ANPA", "ANVA", "ABIA", "ACCA"),
    _token(r"gh[pousr]_[A-Za-z0-9]{36,255}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _token(r"github_pat_[A-Za-z0-9_]{22,255}", "github_pat_"),
    _token(r"gl(?:pat|ptt|dt|rt|cbt|oas|ft|agent|imt|soat)-[A-Za-z0-9_-]{20,300}", "glpat-", "glptt-", "gldt-", "glrt-",
           "glcbt-", "gloas-", "glft-", "glagent-", "glimt-", "glsoat-"),
    _token(r"xox[abeoprs]-[A-Za-z0-9-]{10,250}", "xox"),
    _token(r"xapp-[0-9]-[A-Za-z0-9-]{20,250}", "xapp-"),
    _Secret(
        ("hooks.slack.com/",),
        re.compile(r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9+/]{30,80})"),
    ),
    _token(r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}", "sk_live_", "sk_test_", "rk_live_", "rk_test_"),
    _token(r"whsec_[A-Za-z0-9+/=]{24,100}", "whsec_"),
    _token(r"AIza[A-Za-z0-9_-]{35}", "AIza"),
    _token(r"ya29\.[A-Za-z0-9_-]{20,500}", "ya29."),
    _token(r"GOCSPX-[A-Za-z0-9_-]{28}", "GOCSPX-"),
    _token(r"sk-(?:proj-|svcacct-|ant-)?(?=[A-Za-z_-]{0,80}[0-9])[A-Za-z0-9_-]{32,250}", "sk-"),
    _token(r"hf_[A-Za-z0-9]{30,50}", "hf_"),
    _token(r"npm_[A-Za-z0-9]{36}", "npm_"),
    _token(r"pypi-AgE[A-Za-z0-9_-]{50,500}", "pypi-AgE"),
    _token(r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", "SG."),
    _token(r"key-[0-9a-f]{32}", "key-"),
    _token(r"S[KC][0-9a-f]{32}", "SK", "SC"),
    _token(r"do[opr]_v1_[a-f0-9]{64}", "dop_v1_", "doo_v1_", "dor_v1_"),
    _token(r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", "shpat_", "shpca_", "shppa_", "shpss_"),
    _token(r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}", "dckr_"),
    _token(r"dapi[a-f0-9]{32}(?:-[0-9])?", "dapi"),
    _token(r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,43}", "sq0"),
    _token(r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", ":AA"),
    _token(r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "AGE-SECRET-KEY-"),
    # not behind one of its own characters, so that a run of them is looked through once
    _token(r"(?<!-)eyJ[A-Za-z0-9_-]{10,8000}\.eyJ[A-Za-z0-9_-]{10,32000}\.[A-Za-z0-9_-]{0,8000}", "eyJ"),
    _Secret(
        ("AccountKey=", "SharedAccessKey=", "sig="),
        re.compile(r"(?:(?:Account|SharedAccess)Key=|[?&]sig=)(?P<secret>[A-Za-z0-9+/%]{40,}={0,2})"),
    ),
    _Secret(
        ("earer ", "asic "),
        re.compile(
            r"(?:[Bb]earer|[Aa]uthorization\W{1,4}[Bb]asic) "
            r"(?P<secret>(?=[A-Za-z._~+/=-]{0,80}[0-9])[\w.~+/=-]{16,2000})"
        ),
    ),
)  # fmt: skip

# What a secret is assigned to: `key` counts only behind one of the words that make it one to a door.
_NAMES = ("passw", "passphrase", "pwd", "secret", "token", "key", "credential")
_KIND_OF_KEY = re.compile(r"(?i)(?:api|access|auth|private|encryption|signing|master|account|app|client)[_-]?$")
_NAME = r"(?i:(?P<word>passwor[dt]|passwd|passphrase|pwd)|secret|token(?!i[sz])|credential|key)[\w.-]{0,30}"
_QUOTED = re.compile(
    rf"""{_NAME}["'`]?\]?\s{{0,3}}(?:=>|:=|=|:\s?[A-Za-z_][\w.\[\]| ]{{0,30}}=|:)\s{{0,3}}
         [bru]{{0,2}}(?P<quote>["'`])(?P<secret>[^"'`\s]{{6,300}})(?P=quote)""",
    re.VERBOSE,
)
_UNQUOTED = re.compile(
    rf"""{_NAME}(?:[ \t]*[=:][ \t]*|(?<!<SECRET)>)(?P<secret>[^\s"'`<>(){{}}\[\],;&$]{{8,300}})(?=[\s<;&]|$)""",
    re.VERBOSE,
)
_TEMPLATE = re.compile(
    r"(?i)[<>*{}]|\$\(|%\(|%s|\.\.\.|x{4}|://|^[~.]?/[\w.-]+/"
    r"|(?:^|[\W_])(?:your|my|example|sample|change|changeme|placeholder|dummy|insert|todo|redacted|none|null)(?:$|[\W_])"
)
_SPOKEN = re.compile(r"[A-Za-z]*[0-9]{0,3}(?:[_.:/-][A-Za-z]*[0-9]{0,3})*")
_MIN_TOKEN = 16


def _assigned(text: str, min_entropy: float) -> Spans:
    lowered = text.encode("ascii", "replace").decode().lower()  # a character each, so that positions are the text's
    end = 0
    for at, _ in sorted(span for name in _NAMES for span in places(lowered, name)):
        if at < end or (lowered.startswith("key", at) and not _KIND_OF_KEY.search(text, max(0, at - 12), at)):
            continue
        match = _QUOTED.match(text, at) or _UNQUOTED.match(text, at)
        if match and _looks_drawn(match["secret"], match["word"] is not None, min_entropy):
            yield match.span("secret")
            end = match.end("secret")


def _looks_drawn(value: str, password: bool, min_entropy: float) -> bool:
    """Says whether a value is a secret rather than a name, a path, a template or a word."""
    if _TEMPLATE.search(value) or not re.search(r"[A-Za-z]", value):
        return False
    if password:
        mixed = re.search(r"[0-9]|[^\w.:/-]", value) is not None
        return mixed and _entropy(value) >= min(min_entropy, 0.8 * math.log2(len(value)))
    if len(value) < _MIN_TOKEN or _SPOKEN.fullmatch(value):
        return False
    return re.search(r"[0-9]", value) is not None and _entropy(value) >= min_entropy


def _entropy(value: str) -> float:
    """Returns the Shannon entropy of a value's characters, in bits."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
