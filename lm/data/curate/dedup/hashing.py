"""Texts as hashed words, and the keys that documents are compared by.

Two texts with the same words, whatever their case, compatibility forms, punctuation and white space, hash alike. Words
are runs of letters, marks and digits of the text after NFKC and case folding; scripts written without spaces give one
word a character. Nothing here depends on the process, the platform or the order of the texts.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from lm.data.curate.marks import UNSPACED

# Keys have 61 bits: datatrove ends each band's work at the prime 2**61 - 1. Among a billion documents 0.2 pairs share
# an exact key by chance, among a hundred million 0.03 one of 14 band keys.
NO_KEY = (1 << 61) - 1
_SPARE_BITS = np.uint64(3)
# Enough for numpy's overhead to vanish, little enough for all arrays of a batch to stay in a core's cache.
_BATCH_CHARACTERS = 1 << 16
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_ALONE = np.uint32(1 << 31)


class Words(NamedTuple):
    """The words of several texts: text i has `hashes[offsets[i]:offsets[i + 1]]`.

    Shapes: hashes [words] uint64, offsets [texts + 1] int64.
    """

    hashes: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Words per text [texts] int64."""
        return np.diff(self.offsets)

    def batches(self, texts: int) -> Iterator[Words]:
        """Yields them again, at most `texts` texts at a time."""
        for first in range(0, len(self.offsets) - 1, texts):
            offsets = self.offsets[first : first + texts + 1]
            yield Words(self.hashes[offsets[0] : offsets[-1]], offsets - offsets[0])


def hash_words(texts: Iterable[str]) -> Words:
    """Returns the hashed words of `texts`; a text of symbols alone is one word, a blank one has none."""
    hashes, counts, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [-1]
    symbols: dict[int, int] = {}
    scratch = np.empty((2, _BATCH_CHARACTERS), np.int64)  # else fresh pages for every batch cost a third of the time
    for pieces, of_texts in _batches(texts):
        found, starts = _batch_words(pieces, scratch)
        bounds = np.cumsum([0, *map(len, pieces)]) + np.arange(len(pieces) + 1)
        in_piece = np.diff(np.searchsorted(starts, bounds))
        hashes.append(found)
        counts.append(in_piece)
        owners += of_texts
        for bare in np.flatnonzero(in_piece == 0).tolist():
            if marks := "".join(pieces[bare].split()):
                earlier = symbols.get(of_texts[bare], "")
                symbols[of_texts[bare]] = digest(f"{earlier}{marks}".encode("utf-8", "surrogatepass"))
    everything = np.concatenate(hashes)
    in_text = np.zeros(owners[-1] + 1, np.int64)
    np.add.at(in_text, owners[1:], np.concatenate(counts))
    if alone := [text for text in symbols if not in_text[text]]:
        places = np.cumsum(in_text)[alone]
        everything = np.insert(everything, places, np.array([symbols[text] for text in alone], np.uint64))
        in_text[alone] = 1
    return Words(everything, np.concatenate(([0], np.cumsum(in_text))))


def exact_keys(words: Words) -> np.ndarray:
    """Returns one key per text [texts] uint64: equal where all words are, in order; `NO_KEY` for a blank text."""
    view = memoryview(words.hashes.astype("<u8", copy=False).tobytes())
    bounds = (8 * words.offsets).tolist()
    keys = np.fromiter(
        (digest(view[start:end]) for start, end in itertools.pairwise(bounds)), np.uint64, len(bounds) - 1
    )
    return np.where(words.counts > 0, as_keys(keys), np.uint64(NO_KEY))


def scoped(keys: np.ndarray, scopes: Sequence[str]) -> np.ndarray:
    """Returns `keys` [texts] or [texts, columns] changed by each text's scope: equal only within a scope.

    With the snapshot as scope, documents are compared within their snapshot; without, across all of them.
    """
    known = {scope: digest(scope.encode()) for scope in set(scopes)}
    salts = np.array([known[scope] for scope in scopes], np.uint64).reshape(-1, *[1] * (keys.ndim - 1))
    return np.where(keys == np.uint64(NO_KEY), keys, as_keys(mix(keys + salts)))


def digest(data: bytes | memoryview) -> int:
    """Returns 64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def as_keys(hashes: np.ndarray) -> np.ndarray:
    """Returns well mixed hashes (uint64) as keys of 61 bits, none of them `NO_KEY`."""
    return np.minimum(hashes >> _SPARE_BITS, np.uint64(NO_KEY - 1))


def mix(values: np.ndarray) -> np.ndarray:
    """Returns a bijection of uint64 values in which every bit depends on every bit (the finaliser of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def _normalise(text: str) -> str:
    """Folds compatibility forms and case, but for ASCII letters, which `_letters` folds."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _batches(texts: Iterable[str]) -> Iterator[tuple[list[str], list[int]]]:
    """Yields pieces of folded text, at most `_BATCH_CHARACTERS` in all, and the text that each belongs to."""
    batch: list[str] = []
    owners: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        folded = _normalise(text)
        for piece in (folded,) if len(folded) < _BATCH_CHARACTERS else _pieces(folded):
            if batch and size + len(piece) + 1 > _BATCH_CHARACTERS:
                yield batch, owners
                batch, owners, size = [], [], 0
            batch.append(piece)
            owners.append(number)
            size += len(piece) + 1
    if batch:
        yield batch, owners


def _pieces(text: str) -> Iterator[str]:
    """Cuts a long text between words, or within one that is as long as a batch."""
    start, longest = 0, _BATCH_CHARACTERS - 1
    while len(text) - start > longest:
        space = text.rfind(" ", start + 1, start + longest)
        end = space if space > 0 else start + longest
        yield text[start:end]
        start = end
    yield text[start:]


def _batch_words(pieces: list[str], scratch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hashes of the words of all pieces, and where each starts in "\\n".join(pieces).

    A word's hash is a polynomial of its letters in `_BASE`, modulo 2**64: summed with the powers of the position in the
    batch, and brought back to the word's own start by the inverse power.
    """
    points = np.frombuffer("\n".join(pieces).encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    places, sums = scratch[:, : points.size]
    places[:] = points  # np.take is thrice as fast with places than with the points themselves
    letters = np.take(_letters(), places, mode="clip")
    alone = letters >= _ALONE
    starts = letters != 0
    starts[1:] &= (letters[:-1] == 0) | alone[1:] | alone[:-1]
    starts = np.flatnonzero(starts)
    if not starts.size:
        return np.zeros(0, np.uint64), starts
    powers, inverses = _powers()
    sums = np.cumsum(np.multiply(letters, powers[: letters.size], out=places.view(np.uint64)), out=sums.view(np.uint64))
    before = np.append(sums[starts] - letters[starts] * powers[starts], sums[-1])
    return mix(np.diff(before) * inverses[starts]), starts


@cache
def _letters() -> np.ndarray:
    """Returns what counts of every code point [0x110000] uint32: 0 between words, else itself, ASCII in lower case.

    One that is a word of its own has the bit `_ALONE` set.
    """
    categories = map(unicodedata.category, map(chr, range(0x110000)))
    in_words = np.fromiter((category[0] in "LMN" for category in categories), bool, 0x110000)
    letters = np.arange(0x110000, dtype=np.uint32) * in_words
    letters[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
    for first, last in UNSPACED:
        letters[first : last + 1] |= np.where(in_words[first : last + 1], _ALONE, np.uint32(0))
    return letters


@cache
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """Returns `_BASE` and its inverse, each to the powers 0 to `_BATCH_CHARACTERS`, modulo 2**64."""
    bases = np.array([[_BASE], [pow(_BASE, -1, 1 << 64)]], np.uint64).repeat(_BATCH_CHARACTERS + 1, axis=1)
    bases[:, 0] = 1
    powers, inverses = np.multiply.accumulate(bases, axis=1)
    return powers, inverses
