"""Columns are as wide as their widest cell."""

from __future__ import annotations

from lm.common.columns import columns


def test_cells_are_aligned_to_either_side() -> None:
    rows = [["a", "1", "of one"], ["long", "100", "of many"], ["", "20"]]
    assert columns(rows, right={1}) == ["a       1  of one", "long  100  of many", "       20"]


def test_nothing_is_nothing() -> None:
    assert columns([]) == []
