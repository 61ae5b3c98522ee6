"""Each mistake that an import could make takes the logits out of the tolerance; a sound import stays well within."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.hf_compare import TOLERANCE
from benchmarks.hf_specimens import SPECIMENS
from benchmarks.hf_teeth import PLANTED, Bench
from tests.convert.hf.conftest import published


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose specimens are written once for the whole file."""
    return Bench(tmp_path_factory.mktemp("specimens"))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_noticed(bench: Bench, name: str) -> None:
    assert bench.difference(PLANTED[name]) > 5 * TOLERANCE


@pytest.mark.parametrize("specimen", sorted({planted.specimen for planted in PLANTED.values()}))
def test_without_it_nothing_is(bench: Bench, specimen: str) -> None:
    assert bench.difference(None, specimen) <= TOLERANCE / 2


def test_planted_errors_are_in_specimens_that_there_are() -> None:
    assert {planted.specimen for planted in PLANTED.values()} <= {*SPECIMENS}


def test_the_published_table_has_a_row_for_each_planted_error() -> None:
    planted = [[name, one.specimen] for name, one in PLANTED.items()]
    assert [row[:2] for row in published("hf_teeth.md")] == planted
