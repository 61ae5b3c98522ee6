"""Byte-pair encoding on bytes, in full and in plain Python: read this to know how the fast tokenizers work.

Sennrich et al. (2016) took the idea from compression: start from single symbols, find the pair of neighbours
that stands together most often, make it one new symbol, repeat. Radford et al. (2019) let the symbols be
bytes, so that 256 of them spell every text there is and nothing is ever unknown.

The tests hold the fast byte-level tokenizer against this one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

Pair = tuple[int, int]

# Text is first cut into words, and no token crosses a cut: else "the", "the," and "the." would be three
# tokens that learn nothing from each other. In order: English contractions; letters, with the one space or
# mark before them; digits; marks, with the line ends after them; line ends; spaces, of which the last goes
# to the word that follows; any other spaces. Between them the branches take every character.
_WORDS = (
    r"'(?:[sdmt]|ll|ve|re)\b"
    r"|[^\w\r\n]?[^\W\d_]+"
    r"|\d{{1,{digits}}}"
    r"| ?(?:[^\w\s]|_)+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)


def pattern(split_digits: bool) -> str:
    """Returns the regular expression for words; numbers come as single digits or in threes."""
    return _WORDS.format(digits=1 if split_digits else 3)


def words(text: str, split_digits: bool = True) -> list[str]:
    """Cuts text into words; joined together they are the text again."""
    return re.findall(pattern(split_digits), text)


def count_pairs(counts: dict[tuple[int, ...], int]) -> Counter[Pair]:
    """Counts neighbouring pairs over words, each word as often as it occurs."""
    pairs: Counter[Pair] = Counter()
    for word, count in counts.items():
        for pair in pairwise(word):
            pairs[pair] += count
    return pairs


def merge(word: tuple[int, ...], pair: Pair, new: int) -> tuple[int, ...]:
    """Replaces `pair` in `word` by the symbol `new`, from left to right."""
    out: list[int] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] = new
        else:
            out.append(symbol)
    return tuple(out)


@dataclass
class BPE:
    """A byte-level BPE: ids 0 to 255 are bytes, id 256 + n is the n-th merge."""

    merges: list[Pair] = field(default_factory=list)
    split_digits: bool = True

    @classmethod
    def train(cls, texts: Iterable[str], n_merges: int, split_digits: bool = True) -> BPE:
        """Learns up to `n_merges` merges; stops early when no pair occurs twice."""
        tokenizer = cls(split_digits=split_digits)
        seen = Counter(word for text in texts for word in words(text, split_digits))
        counts = {tuple(word.encode()): count for word, count in seen.items()}
        for new in range(256, 256 + n_merges):
            pairs = count_pairs(counts)
            # Most frequent first; among equals the lowest ids, so that training has one outcome.
            best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
            if best is None or pairs[best] < 2:
                break
            tokenizer.merges.append(best)
            counts = {merge(word, best, new): count for word, count in counts.items()}
        return tokenizer

    @property
    def vocab_size(self) -> int:
        return 256 + len(self.merges)

    def encode(self, text: str) -> list[int]:
        """Applies to every word the merges it has pairs for, in the order in which they were learnt."""
        rank = {pair: n for n, pair in enumerate(self.merges)}
        ids: list[int] = []
        for word in words(text, self.split_digits):
            symbols = tuple(word.encode())
            while len(symbols) > 1:
                first = min(pairwise(symbols), key=lambda pair: rank.get(pair, len(rank)))
                if first not in rank:
                    break
                symbols = merge(symbols, first, 256 + rank[first])
            ids.extend(symbols)
        return ids

    def pieces(self) -> list[bytes]:
        """Returns the bytes each token stands for, in order of id."""
        pieces = [bytes([byte]) for byte in range(256)]
        for left, right in self.merges:
            pieces.append(pieces[left] + pieces[right])
        return pieces

    def decode(self, ids: Iterable[int]) -> str:
        """Joins the tokens' bytes; bytes that are no UTF-8 become U+FFFD."""
        pieces = self.pieces()
        return b"".join(pieces[id] for id in ids).decode("utf-8", errors="replace")
