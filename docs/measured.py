"""Tables that a benchmark wrote to docs/tables, for the chapters."""

from __future__ import annotations

from pathlib import Path

from run_view import Run

TABLES = Path(__file__).parent / "tables"


def rows(name: str, run: Run) -> list[list[str]]:
    """Returns the rows of a Markdown table, without its head."""
    lines = (TABLES / f"{name}.md").read_text(encoding="utf-8").splitlines()
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return found[2:]
