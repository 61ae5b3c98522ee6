"""Personal data: e-mail addresses, phone numbers, IP addresses, IBANs and card numbers become typed placeholders.

A placeholder is the kind in capitals between angle brackets, such as `<EMAIL>`: short, the same in every language, and
rare in text. A text that held `<EMAIL>` before keeps it; `meta["pii"]` counts only what was replaced here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lm.common.errors import UserError
from lm.data.curate.document import Document
from lm.data.curate.personal.addresses import find_ips
from lm.data.curate.personal.banking import find_cards, find_ibans
from lm.data.curate.personal.emails import find_emails
from lm.data.curate.personal.phones import find_phones
from lm.data.curate.personal.spans import Spans, replace_spans

# What every number here begins with or holds; most documents hold none, and are done with one look.
_NUMBER = re.compile(
    r"[0-9](?:(?:[ \u00a0./()\-\u2010-\u2013]{0,3}[0-9]){6}|[0-9]{0,2}\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]{3}:)"
)
# In this order: a number with a checksum is what the checksum says, before a mere shape makes it a phone number.
_FINDERS: dict[str, Callable[[str], Spans]] = {
    "email": find_emails,
    "iban": find_ibans,
    "card": find_cards,
    "ip": find_ips,
    "phone": find_phones,
}


@dataclass(frozen=True)
class RemovePII:
    """Replaces each of the `kinds` of personal data by its placeholder, and counts it in `meta["pii"]`.

    Raises:
        UserError: a kind that does not exist.
    """

    kinds: tuple[str, ...] = tuple(_FINDERS)  # which to replace
    name: str = "pii"

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in _FINDERS:
                raise UserError(f"{self.name}.kinds={kind!r}: no such kind; take from {', '.join(_FINDERS)}")

    def __call__(self, document: Document) -> Document:
        text, counts = document.text, {}
        numbers = _NUMBER.search(text) is not None
        for kind, find in _FINDERS.items():
            if kind in self.kinds and (numbers or kind == "email"):
                text, counts[kind] = replace_spans(text, find(text), f"<{kind.upper()}>")
        return redacted(document, text, counts)


def redacted(document: Document, text: str, counts: Mapping[str, int]) -> Document:
    """Returns the document with its new text and the counts added to `meta["pii"]`; itself if nothing was found."""
    found = {kind: count for kind, count in counts.items() if count}
    if not found:
        return document
    before = document.meta.get("pii", {})
    return document.changed(text, pii={**before, **{kind: before.get(kind, 0) + n for kind, n in found.items()}})
