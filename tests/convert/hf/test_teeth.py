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


# The mistakes that exporters are known for; the others are slow.
QUICK = (
    "RoPE base of sliding layers on global ones",
    "soft-cap of scores left out",
    "soft-cap of logits left out",
    "GELU by erf, not tanh",
    "GELU by tanh, not erf",
    "queries and keys interleaved",
    "gate and up swapped",
    "window one too wide",
    "one expert fewer",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PLANTED]
)
def test_a_planted_error_is_noticed(bench: Bench, name: str) -> None:
    assert bench.difference(PLANTED[name]) > 5 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("specimen", sorted({planted.specimen for planted in PLANTED.values()}))
def test_without_it_nothing_is(bench: Bench, specimen: str) -> None:
    assert bench.difference(None, specimen) <= TOLERANCE / 2


def test_planted_errors_are_in_specimens_that_there_are() -> None:
    assert {planted.specimen for planted in PLANTED.values()} <= {*SPECIMENS}
    assert {*QUICK} <= {*PLANTED}


def test_the_published_table_has_a_row_for_each_planted_error() -> None:
    planted = [[name, one.specimen] for name, one in PLANTED.items()]
    assert [row[:2] for row in published("hf_teeth.md")] == planted
