"""Words, as the published thresholds of curation count them.

The limits of Gopher, C4 and FineWeb are used with the words of spaCy's English rules (Honnibal & Montani, 2017):
punctuation marks are words of their own, contractions are two words (`do` `n't`), abbreviations keep their full stop,
and words joined by a hyphen are three. Here are the same rules, applied once to each distinct run of characters
between white space: text repeats its runs, so that most cost one look-up.

Scripts written without spaces (Han, kana, Thai, Lao, Burmese, Khmer) give one word a character; spaCy's English rules
would take a whole sentence of them for a word.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, compress
from typing import TYPE_CHECKING

from lm.data.curate import english
from lm.data.curate.marks import SENTENCE_ENDS

if TYPE_CHECKING:
    from datatrove.utils.word_tokenizers import WordTokenizer

_CACHED_RUNS = 1 << 17
# Rules look at a run again for each mark they take off; longer ones (encoded data, ruled lines) are cut plainly.
_LONGEST_RUN = 256
# The most words that a known one, such as an emoticon, is cut into.
_LONGEST_KNOWN = 6
_PLAIN = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Splits text into words and punctuation marks; their characters are those of the text without white space."""
    return list(chain.from_iterable(map(_split_run, text.split())))


def sentence_starts(words: Sequence[str]) -> list[int]:
    """Returns the index of each sentence's first word: 0, and the word behind a full stop and what closes with it."""
    if not words:
        return []
    starts, count = [0], len(words)
    for following in compress(range(1, count), map(SENTENCE_ENDS.__contains__, words)):
        while following < count and _is_closing(words[following]):
            following += 1
        if following < count and words[following] not in SENTENCE_ENDS:
            starts.append(following)
    return starts


def word_spans(text: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yields where in `text` each of its words stands, as (start, end) in characters."""
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def datatrove_tokenizer() -> WordTokenizer:
    """Returns this module's words and sentences as what datatrove's blocks take for `language`."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Words(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return split_words(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return [text[start:end].strip() for start, end in self.span_tokenize(text)]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            words = split_words(text)
            places = list(word_spans(text, words))
            bounds = [places[start][0] for start in sentence_starts(words)]
            return list(zip(bounds, [*bounds[1:], len(text)], strict=True))

    return Words()


@lru_cache(_CACHED_RUNS)
def _split_run(run: str) -> tuple[str, ...]:
    """Splits a run of characters without white space."""
    rules = english.rules()
    if run in rules.known:
        return rules.known[run]
    if run.isascii():
        if run.isalpha():
            return (sys.intern(run),)
    elif len(pieces := rules.pieces.findall(run)) > 1:
        return tuple(chain.from_iterable(map(_split_run, pieces)))
    if len(run) > _LONGEST_RUN:
        return tuple(_PLAIN.findall(run))
    return tuple(map(sys.intern, _rejoined(_split_affixes(run, rules), rules.known)))


def _split_affixes(run: str, rules: english.Rules) -> list[str]:
    """Takes off what opens and closes a run, mark by mark, until a known word or nothing more is left to take."""
    opening: list[str] = []
    closing: list[str] = []
    while run and run not in rules.known:
        prefix = rules.prefix_of(run)
        rest = run[len(prefix) :]
        if prefix and rest in rules.known:
            opening.append(prefix)
            run = rest
            break
        suffix = rules.suffix_of(rest)
        if suffix and run[: -len(suffix)] in rules.known:
            closing.append(suffix)
            run = run[: -len(suffix)]
            break
        if not prefix and not suffix:
            break
        if prefix:
            opening.append(prefix)
        if suffix:
            closing.append(suffix)
        run = run[len(prefix) : len(run) - len(suffix)]
    return [*opening, *_split_core(run, rules), *reversed(closing)]


def _split_core(core: str, rules: english.Rules) -> Sequence[str]:
    """Splits what stands between affixes at what joins its words; an address stays whole."""
    if core in rules.known:
        return rules.known[core]
    if core.isalnum() or ("." in core and rules.address.match(core)):
        return (core,)
    words, start = [], 0
    for joint in rules.infix.finditer(core):
        if joint.start() > 0:  # what comes first joins nothing
            words += [core[start : joint.start()], joint.group()]
            start = joint.end()
    return [word for word in (*words, core[start:]) if word]


def _rejoined(words: list[str], known: dict[str, tuple[str, ...]]) -> list[str]:
    """Puts known words together again that the rules cut up."""
    kept: list[str] = []
    start = 0
    while start < len(words):
        for end in range(min(start + _LONGEST_KNOWN, len(words)), start + 1, -1):
            if (whole := "".join(words[start:end])) in known:
                kept += known[whole]
                start = end
                break
        else:
            kept.append(words[start])
            start += 1
    return kept


@lru_cache(_CACHED_RUNS)
def _is_closing(word: str) -> bool:
    """Whether a word is punctuation that does not itself end a sentence."""
    return word not in SENTENCE_ENDS and all(unicodedata.category(character)[0] == "P" for character in word)
