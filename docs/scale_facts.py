"""Facts of the chapter on many devices: what each mesh axis splits, and the launch files."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import measured
import snippets
from run_view import Run

from lm.common import mesh

_LINK = re.compile(r"\[`?([^`\]]+)`?\]\([^)]*\)")


def _axes(run: Run) -> list[list[str]]:
    """Returns each mesh axis, with the logical axes that it splits."""
    return [[axis, ", ".join(name for name, axes in mesh.RULES.items() if axis in axes)] for axis in mesh.AXES]


def _launch_files(run: Run) -> list[list[str]]:
    """Returns each launch file, what it is for and how it continues, from the table beside them."""
    lines = (snippets.ROOT / "launch" / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| [")]
    return [[_LINK.sub(r"\1", file), what, again.replace("`", "")] for file, what, _, _, again in rows]


FACTS: dict[str, Callable[[Run], list[list[str]]]] = {
    "scale.axes": _axes,
    "scale.depth": partial(measured.rows, "depth"),
    "scale.launch": _launch_files,
    "scale.meshes": partial(measured.rows, "meshes"),
}
