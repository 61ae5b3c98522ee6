"""MinHash: signatures that agree as often as two documents share shingles, and their bands as keys.

Signatures follow Fast Similarity Sketching (Dahlgaard, Knudsen & Thorup, 2017): in each of a few rounds every shingle
enters one slot, so that a signature of many slots costs little more than a few passes over the shingles. A slot keeps
the smallest hash of the earliest round that reached it; a slot no round reached takes the smallest of its own hash
over all shingles. Every shingle has, in every slot, a place in one order that no other document changes, so two
documents agree in a slot with a probability that is exactly the Jaccard similarity of their sets of shingles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lm.common.errors import UserError
from lm.data.curate.dedup.hashing import NO_KEY, Words, as_keys, digest, mix

# (bands, rows) as published: FineWeb (Penedo et al., 2024), RefinedWeb (Penedo et al., 2023), DCLM (Li et al., 2024).
PRESETS = {"fineweb": (14, 8), "refinedweb": (450, 20), "dclm": (93, 15)}
EMPTY = np.uint32(0xFFFFFFFF)  # the slots of a document without words
# Rounds cost (shingles), and what they leave empty costs (shingles x slots): about balanced for 50 to 500 shingles.
_SLOTS_PER_ROUND = 64
_MIN_ROUNDS = 4
# What is signed at a time: little enough for arrays to stay in a cache and be used again, enough to spread overhead.
_BATCH_SLOTS = 1 << 14
_MIN_BATCH = 32


@dataclass(frozen=True)
class MinHash:
    """MinHash-LSH: documents are linked where all `rows` slots of one of `bands` bands agree.

    Documents of similarity s (Jaccard, of their sets of `ngram` consecutive words) are linked with a probability of
    1 - (1 - s**rows)**bands. A document of fewer words than `ngram` has one shingle, of all its words.
    """

    bands: int
    rows: int
    ngram: int = 5
    seed: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MinHash:
        """Makes it from `preset` (one of `PRESETS`, or "" to use `bands` and `rows`), `ngram` and `seed`.

        Raises:
            UserError: an unknown preset, or a number out of range.
        """
        preset = config["preset"]
        if preset and preset not in PRESETS:
            raise UserError(f"config.dedup.preset: no preset {preset!r}; one of {', '.join(PRESETS)}, or '' for none")
        bands, rows = PRESETS[preset] if preset else (config["bands"], config["rows"])
        for name, value, low in (
            ("bands", bands, 1),
            ("rows", rows, 1),
            ("ngram", config["ngram"], 1),
            ("seed", config["seed"], 0),
        ):
            if not low <= value < 1 << 32:
                raise UserError(f"config.dedup.{name}: {value} must be at least {low} and below 2**32")
        return cls(bands, rows, config["ngram"], config["seed"])

    @property
    def slots(self) -> int:
        """Slots of a signature."""
        return self.bands * self.rows

    def link_probability(self, similarity: float) -> float:
        """Returns the probability that two documents of a similarity (0 to 1) share at least one band."""
        return 1 - (1 - similarity**self.rows) ** self.bands

    def shingles(self, words: Words) -> Words:
        """Returns the hashes of each text's runs of `ngram` words, laid out like the words, repeats included."""
        counts = words.counts
        padded = np.where(counts > 0, np.maximum(counts, self.ngram), 0)
        ends = np.cumsum(padded)
        starts = ends - padded
        if (padded == counts).all():
            values = words.hashes
        else:  # texts of fewer words than a shingle are filled up with zeros
            values = np.zeros(ends[-1], np.uint64)
            values[np.arange(words.hashes.size) + np.repeat(starts - words.offsets[:-1], counts)] = words.hashes
        sums = np.zeros(values.size, np.uint64)
        for place, factor in enumerate(_odd_numbers(self.seed, "words", self.ngram)):
            sums[: values.size - place] += values[place:] * factor
        first = np.ones(values.size, bool)
        for back in range(1, self.ngram):
            first[(ends - back)[counts > 0]] = False  # these runs would reach into the next text
        offsets = np.concatenate(([0], np.cumsum(np.maximum(padded - self.ngram + 1, 0)))).astype(np.int64)
        return Words(mix(sums[first]), offsets)

    def band_keys(self, words: Words) -> np.ndarray:
        """Returns one key per band [texts, bands] uint64; `NO_KEY` for a text without words."""
        factors = _odd_numbers(self.seed, "rows", self.rows)
        parts = [np.zeros((0, self.bands), np.uint64)]
        for batch in self._batches(words):
            signatures = self.signatures(batch).reshape(-1, self.bands, self.rows)
            parts.append(as_keys(mix(signatures.astype(np.uint64) @ factors)))
        keys = np.concatenate(parts)
        keys[words.counts == 0] = NO_KEY
        return keys

    def _batches(self, words: Words) -> Iterator[Words]:
        return words.batches(max(_BATCH_SLOTS // self.slots, _MIN_BATCH))

    def signatures(self, words: Words) -> np.ndarray:
        """Returns signatures [texts, bands x rows] uint32; `EMPTY` in all slots of a text without words."""
        shingles = self.shingles(words)
        counts = shingles.counts
        signatures = np.full((counts.size, self.slots), EMPTY)
        flat = signatures.reshape(-1)
        texts, hashes = np.flatnonzero(counts), shingles.hashes  # those with empty slots, and their shingles
        owners = np.repeat(np.arange(counts.size), counts)
        bases = owners * self.slots
        rounds = max(_MIN_ROUNDS, self.slots // _SLOTS_PER_ROUND)
        for factor in _odd_numbers(self.seed, "rounds", rounds):
            entries = hashes * factor  # the upper bits choose the slot, those in the middle are the value
            places = ((entries >> np.uint64(32)) * np.uint64(self.slots) >> np.uint64(32)).view(np.int64)
            places += bases
            free = np.flatnonzero(flat[places] == EMPTY)
            np.minimum.at(flat, places[free], np.minimum((entries[free] >> np.uint64(16)).astype(np.uint32), EMPTY - 1))
            unfinished = signatures.max(axis=1) == EMPTY
            if not unfinished[texts].all():
                texts = texts[unfinished[texts]]
                left = np.flatnonzero(unfinished[owners])
                hashes, owners, bases = hashes[left], owners[left], bases[left]
        for text in texts:
            slots = np.flatnonzero(signatures[text] == EMPTY)
            own = shingles.hashes[shingles.offsets[text] : shingles.offsets[text + 1]]
            signatures[text, slots] = _smallest(own, _odd_numbers(self.seed, "slots", self.slots)[slots])
        return signatures


def _smallest(hashes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Returns for each factor the smallest hash that it gives (multiply-shift) [factors] uint32, none `EMPTY`."""
    smallest = np.full(factors.size, np.iinfo(np.uint64).max)
    for first in range(0, hashes.size, 256):  # bounded memory, whatever the length of a text
        np.minimum(smallest, (factors[:, None] * hashes[first : first + 256]).min(axis=1), out=smallest)
    return np.minimum((smallest >> np.uint64(32)).astype(np.uint32), EMPTY - 1)


@cache
def _odd_numbers(seed: int, purpose: str, count: int) -> np.ndarray:
    """Returns odd random numbers [count] uint64, a fixed function of the seed and of what they are for."""
    start = np.uint64(digest(f"{purpose} {seed}".encode()))
    return mix(mix(np.arange(count, dtype=np.uint64)) + start) | np.uint64(1)
