"""What curation handles: a document, and the two other things it can become.

A step is a callable `step(document) -> Document | Dropped`. Steps are plain picklable values (frozen dataclasses), so
that every executor can send them to its workers, and pure: what comes out depends on the document alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lm.data.curate.words import split_words


@dataclass(frozen=True)
class Document:
    """One document on its way; `id` is `FILE#N`, the N-th record of its file, and so unique whatever the input holds.

    `meta` is JSON-able: what is known of the document (url, date, language, licence, snapshot, the record's own id)
    and what steps found out about it. `html` is the page a web document is still to be extracted from.
    """

    id: str
    text: str
    source: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    html: bytes = b""

    @cached_property
    def words(self) -> list[str]:
        """The words of the text, as every threshold in words counts them."""
        return split_words(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without line ends."""
        return self.text.split("\n")

    @cached_property
    def paragraphs(self) -> list[str]:
        """What stands between empty lines, none of it empty."""
        return [paragraph for paragraph in self.text.split("\n\n") if paragraph.strip()]

    def changed(self, text: str | None = None, **meta: Any) -> Document:
        """Returns the document with another text and more `meta`; its page is let go once there is text."""
        return replace(
            self,
            text=self.text if text is None else text,
            html=self.html if text is None else b"",
            meta={**self.meta, **meta} if meta else self.meta,
        )


class Dropped(NamedTuple):
    """Why a document goes: the rule (such as `gopher_quality.min_words`), what was found, and the limit it broke."""

    rule: str
    value: float | str
    threshold: float | str


class Quarantined(NamedTuple):
    """A record that could not be read as a document: its id, why, and its raw bytes as far as they are kept."""

    id: str
    reason: str
    raw: bytes


@runtime_checkable
class Measuring(Protocol):
    """A step that can say what it holds against its limits."""

    def measure(self, document: Document) -> dict[str, float]:
        """Returns the value of a document for each limit, by rule."""
        ...


class Step(Protocol):
    """Takes a document and returns it, changed or not, or says why it goes."""

    @property
    def name(self) -> str:
        """The step's name in configs, ledgers and reports, such as `gopher_quality`."""
        ...

    def __call__(self, document: Document) -> Document | Dropped: ...
