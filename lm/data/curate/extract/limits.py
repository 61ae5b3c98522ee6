"""Markup that would keep any HTML5 parser busy for minutes or fill its memory."""

from __future__ import annotations

import re

from lm.data.curate.document import Dropped

_FORMATTING = re.compile(
    r"<((?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s>][^<>]{0,200})", re.IGNORECASE
)
_CLOSING = re.compile(r"</(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\s*>", re.IGNORECASE)
_MANY_TAGS = 5_000  # below, no page is a burden
_MAX_REOPENED = 5_000_000  # elements
_MAX_STEPS = 1_000_000_000
_MAX_ATTRIBUTES = 5_000
_ATTRIBUTES = re.compile(rf"<[a-zA-Z](?:[^\s<>]*+\s++){{{_MAX_ATTRIBUTES}}}+")


def too_much(html: str) -> Dropped | None:
    """Says why a page is not parsed, if so.

    By the standard, formatting elements left open are opened again in every paragraph that follows: a megabyte of
    `<font>` and `<p>` makes billions of elements, unless they are alike; and each is looked for among all open ones.
    Attributes are compared with all others of their element. Depth alone is no burden.
    """
    tags = html.count("<")
    if tags > _MANY_TAGS:
        opened = _FORMATTING.findall(html)
        unclosed = max(0, len(opened) - len(_CLOSING.findall(html)))
        reopened = min(unclosed, len(set(opened))) * tags
        if reopened > _MAX_REOPENED:
            return Dropped("extract.max_reopened", reopened, _MAX_REOPENED)
        if unclosed * tags > _MAX_STEPS:
            return Dropped("extract.max_steps", unclosed * tags, _MAX_STEPS)
    if len(html) > 2 * _MAX_ATTRIBUTES and _ATTRIBUTES.search(html):
        return Dropped("extract.max_attributes", f"more than {_MAX_ATTRIBUTES}", _MAX_ATTRIBUTES)
    return None
