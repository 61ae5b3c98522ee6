"""The language of a document, and whether it is one to keep.

Identified by py3langid (after Lui and Baldwin, 2012), whose model of 140 languages is part of its package: nothing is
fetched. The default limit on its probability is FineWeb's (Penedo et al., 2024).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped

UNDETERMINED = "und"  # ISO 639-2
_CHARACTERS = 900  # enough to be sure of a language; more would only take time
_PLACES = 3
_LANE, _EARLY = 16, 8  # bytes


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
    """Returns the model, read once per process; it is not changed by use, so that threads can share it.

    Its scores are py3langid's to the bit, in half the time: its table is widened once instead of at each look, and its
    automaton, whose every step waits for memory, reads the lanes of a text side by side.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise UserError("identifying languages needs py3langid; pip install 'lm[curate]'") from error

    class Identifier(LanguageIdentifier):
        def __init__(self, table: np.ndarray, *rest: Any, **options: Any) -> None:
            super().__init__(table.astype(np.float32), *rest, **options)
            self.automaton = Automaton(self.tk_nextmove, self.tk_row, self.tk_output)

        def _raw_score(self, text: bytes) -> np.ndarray:
            features = self.automaton.features(text)
            if features is None or not features.size:
                return super()._raw_score(text)
            return self._sparse_score(Counter(features.tolist()), self.nb_ptc)

    return Identifier.from_model_file(MODEL_FILE, norm_probs=True)


class Automaton:
    """A finite automaton over bytes, whose states are soon forgotten: they depend on the last few bytes.

    `moves` [rows * 256] are the next states, `rows` [states] which row each state has, and `outputs` [states] the
    feature that is met on reaching it, or -1.
    """

    def __init__(self, moves: Any, rows: Any, outputs: Any) -> None:
        self._moves: np.ndarray = np.frombuffer(moves, moves.typecode)
        self._row = np.asarray(rows).astype(np.intp) << 8
        self._output = np.asarray(outputs, np.int32)

    def features(self, text: bytes) -> np.ndarray | None:
        """Returns the features met in a text, in order; None where a state was not forgotten in time.

        The text is cut into lanes, each of which starts a few bytes early from state 0; so it is in the right state
        where it begins if that is the one in which the lane before it ended.
        """
        lanes = -(-len(text) // _LANE)
        padded = b"\xff" * _EARLY + text + b"\xff" * (lanes * _LANE - len(text))  # a byte that UTF-8 does not have
        codes = np.ndarray((_EARLY + _LANE, lanes), np.uint8, padded, strides=(1, _LANE))
        states = np.empty(codes.shape, self._moves.dtype)
        row: Any = self._row[0]
        for column, state in zip(codes.astype(np.intp), states, strict=True):
            column += row
            self._moves.take(column, out=state, mode="clip")
            row = self._row.take(state)
        begun = states[_EARLY - 1]
        if begun[0] != 0 or (begun[1:] != states[-1, :-1]).any():
            return None
        met = self._output.take(states[_EARLY:].T.ravel()[: len(text)])
        return met[met >= 0]
