"""Which page of a crawl is of which kind, and which page a copy is a copy of."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

SHARES: Mapping[str, float] = {
    "clean": 0.62,
    "duplicate": 0.05,
    "near_duplicate": 0.08,
    "spam": 0.04,
    "toxic": 0.04,
    "adult": 0.03,
    "low_quality": 0.04,
    "short": 0.02,
    "empty": 0.01,
    "foreign": 0.04,
    "leak": 0.02,
    "skipped": 0.01,
}
"""The kinds of pages and their shares; `skipped` are responses that are no pages: images, errors, redirects."""
KINDS: tuple[str, ...] = tuple(SHARES)
COPIES = ("duplicate", "near_duplicate")
_SAME_ORIGINAL = 0.3


class Planned(NamedTuple):
    """A page to be made; `original` is the number of the page it copies, -1 for none."""

    kind: str
    original: int = -1


def plan(seed: int, n_pages: int, shares: Mapping[str, float] = SHARES) -> list[Planned]:
    """Returns the kind of every page: as many of each as its share says, in random order, originals before copies.

    Raises:
        ValueError: kinds that do not exist, shares that do not add up to 1, or copies of which there is no original.
    """
    if unknown := set(shares) - set(KINDS):
        raise ValueError(f"shares of {', '.join(sorted(unknown))}: a crawl has {', '.join(KINDS)}")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"shares add up to {sum(shares.values()):g}, not to 1")
    rng = random.Random(f"plan of crawl {seed}")
    kinds = _apportioned(n_pages, shares)
    rng.shuffle(kinds)
    if any(kind in COPIES for kind in kinds):
        if "clean" not in kinds:
            raise ValueError("duplicates need a clean page that they copy; give clean a share")
        first = kinds.index("clean")
        kinds[0], kinds[first] = kinds[first], kinds[0]
    planned, originals, last = [], [], -1
    for number, kind in enumerate(kinds):
        if kind == "clean":
            originals.append(number)
        if kind in COPIES:
            last = last if last >= 0 and rng.random() < _SAME_ORIGINAL else rng.choice(originals)
        planned.append(Planned(kind, last if kind in COPIES else -1))
    return planned


def _apportioned(n: int, shares: Mapping[str, float]) -> list[str]:
    """Returns n kinds by largest remainder."""
    exact = {kind: n * share for kind, share in shares.items()}
    counts = {kind: int(wanted) for kind, wanted in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: n - sum(counts.values())]:
        counts[kind] += 1
    return [kind for kind, count in counts.items() for _ in range(count)]
