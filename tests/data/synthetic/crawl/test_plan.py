"""A plan has as many pages of each kind as asked for, and originals come before their copies."""

from __future__ import annotations

from collections import Counter

import pytest

from lm.data.synthetic.crawl.plan import COPIES, KINDS, SHARES, plan


@pytest.mark.parametrize("n", [1, 7, 1000, 2500])
def test_shares_are_as_asked_to_the_page(n: int) -> None:
    counts = Counter(planned.kind for planned in plan(0, n))
    assert sum(counts.values()) == n
    assert all(abs(counts[kind] - n * SHARES[kind]) < 1 for kind in KINDS)


def test_copies_follow_the_clean_page_they_copy() -> None:
    pages = plan(1, 2000)
    for number, (kind, original) in enumerate(pages):
        if kind in COPIES:
            assert 0 <= original < number
            assert pages[original].kind == "clean"
        else:
            assert original == -1
    sizes = Counter(page.original for page in pages if page.original >= 0)
    assert max(sizes.values()) > 2  # some clusters are larger than a pair


def test_plan_follows_from_its_seed() -> None:
    assert plan(5, 300) == plan(5, 300) != plan(6, 300)


def test_one_kind_alone() -> None:
    assert {page.kind for page in plan(0, 50, {"spam": 1.0})} == {"spam"}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"clean": 0.5, "viral": 0.5}, "shares of viral: a crawl has clean, duplicate"),
        ({"clean": 0.5}, "shares add up to 0.5, not to 1"),
        ({"duplicate": 1.0}, "duplicates need a clean page"),
    ],
)
def test_shares_that_make_no_crawl_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(0, 100, shares)
