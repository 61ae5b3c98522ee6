"""The language of a document, and whether it is one to keep.

Identified by py3langid (after Lui and Baldwin, 2012), whose model of 140 languages is part of its package: nothing is
fetched. The default limit on its probability is FineWeb's (Penedo et al., 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped

UNDETERMINED = "und"  # ISO 639-2
_CHARACTERS = 900  # enough to be sure of a language; more would only take time
_PLACES = 3


@dataclass(frozen=True)
class Language:
    """Notes a document's language and its probability in `meta`, and keeps those in `keep` that are likely enough.

    `keep` holds codes such as "en" (ISO 639-1, else 639-3); empty keeps all. Text without a letter that the model knows
    is "und" with probability 0. A few words are seldom likely enough: with short documents, lower `min_probability`.

    Raises:
        UserError: a language the model does not know, or a probability outside [0, 1].
    """

    keep: tuple[str, ...] = ()  # codes such as "en"; none keeps every language
    min_probability: float = 0.65  # of the likeliest language
    name: str = "language"

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"{self.name}.min_probability={self.min_probability}: must lie between 0 and 1")
        unknown = sorted(set(self.keep) - set(_identifier().labels)) if self.keep else []
        if unknown:
            known = ", ".join(sorted(_identifier().labels))
            raise UserError(f"{self.name}.keep={unknown[0]!r}: no language py3langid knows; take from {known}")

    def __call__(self, document: Document) -> Document | Dropped:
        language, probability = identify(document.text)
        if self.keep and language not in self.keep:
            return Dropped(f"{self.name}.keep", language, " ".join(self.keep))
        if probability < self.min_probability:
            return Dropped(f"{self.name}.min_probability", probability, self.min_probability)
        return document.changed(language=language, language_probability=probability)


def identify(text: str) -> tuple[str, float]:
    """Returns the most likely language of a text and its probability, from its beginning, middle and end."""
    sample = _sample(text)
    if not any(map(str.isalpha, sample)):
        return UNDETERMINED, 0.0
    identifier = _identifier()
    language, probability = identifier.classify(sample)
    if probability < 2 / len(identifier.labels):  # near one in all of them: nothing in it was known
        return UNDETERMINED, 0.0
    return str(language), round(float(probability), 4)


def _sample(text: str) -> str:
    """Returns the text, or pieces of equal length from places evenly spread over a long one."""
    if len(text) <= _CHARACTERS:
        return text
    length = _CHARACTERS // _PLACES
    starts = (place * (len(text) - length) // (_PLACES - 1) for place in range(_PLACES))
    return "\n".join(text[start : start + length] for start in starts)


@cache
def _identifier() -> Any:
    """Returns the model, read once per process; it is not changed by use, so that threads can share it."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise UserError("identifying languages needs py3langid; pip install 'lm[curate]'") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
