"""Aligned columns of text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = (), gap: int = 2) -> list[str]:
    """Returns a line for each row, its cells padded to their columns' widths; those of `right` end in line.

    Rows may be shorter than others.
    """
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]

    def cell(i: int, text: str) -> str:
        return text.rjust(widths[i]) if i in right else text.ljust(widths[i])

    return [(" " * gap).join(cell(i, text) for i, text in enumerate(row)).rstrip() for row in rows]
