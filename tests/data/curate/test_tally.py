"""Tallies add up: whatever the units, the sum is that of all documents in one."""

from __future__ import annotations

import json
import random

from lm.data.curate.document import Document, Dropped
from lm.data.curate.tally import Tally


def note(tally: Tally, n: int) -> None:
    rng = random.Random(n)
    tally.records += 1
    tally.reached["a"] += 1
    if rng.random() < 0.3:
        tally.drop(Dropped(rng.choice(["a.min", "a.max"]), 1, 2))
    elif rng.random() < 0.1:
        tally.quarantined["damaged"] += 1
    else:
        meta = {"pii": {"email": rng.randint(0, 2)}, "language": rng.choice(["en", "de"])}
        tally.keep(Document(str(n), "word été " * n, "", meta))
        tally.samples.append({"id": str(n)})
    tally.observe({"a.min": float(n), **({"a.max": 1.0} if n % 2 else {})})


def test_sums_of_parts_are_the_sum_of_all() -> None:
    whole, parts = Tally(), [Tally() for _ in range(4)]
    for n in range(60):
        note(whole, n)
        note(parts[n // 15], n)
    written = [json.loads(json.dumps(part.to_dict())) for part in parts]
    assert Tally.sum(written) == whole
    assert Tally.sum([]) == Tally()


def test_bytes_are_of_utf_8_and_words_as_thresholds_count_them() -> None:
    tally = Tally()
    tally.keep(Document("", "été 語", "", {}))
    assert (tally.kept, tally.bytes, tally.words) == (1, 9, len(Document("", "été 語", "").words))
