"""The random architectures reach the whole config space."""

from __future__ import annotations

from .architectures import KINDS, NUMBERS, SEEDS, build, choices, covering, draw, flat, keys, used


def test_every_key_can_be_drawn() -> None:
    """A key that nobody said how to draw, or a number that is no key any more, is named here."""
    assert [key for key, some in choices().items() if not some] == []
    assert NUMBERS.keys() - keys().keys() == set()


def test_the_draws_use_every_choice_of_every_key() -> None:
    wanted = {(key, choice) for key, some in choices().items() for choice in some}
    drawn = set[tuple[str, object]]().union(*(used(draw(seed)) for seed in SEEDS))
    assert wanted - drawn == set()


def test_few_seeds_use_what_all_use() -> None:
    quick = covering(SEEDS, KINDS)
    few = covering(SEEDS, choices(), quick)
    assert few[: len(quick)] == quick
    assert len(quick) < len(few) < len(SEEDS) / 4
    all_of_them = set().union(*(used(draw(seed)) for seed in SEEDS))
    assert set().union(*(used(draw(seed)) for seed in few)) == all_of_them
    kinds = set().union(*(used(draw(seed)) for seed in quick))
    assert {pair for pair in all_of_them - kinds if pair[0] in KINDS} == set()


def test_a_draw_follows_from_its_seed_and_keeps_its_values_by_name() -> None:
    cfg = draw(5)
    draw.cache_clear()
    assert draw(5) == cfg
    assert build(flat(cfg)) == cfg
