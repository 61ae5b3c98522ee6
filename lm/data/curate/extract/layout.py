"""Blocks as plain text: paragraphs between empty lines, list items with bullets, a line for each row of a table."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from lm.data.curate.extract.blocks import HEADINGS, Block, Page

_CELL_SIZE = 250  # a table with a longer cell is there for the layout
_DEEPEST = 8  # level of a list that is still indented further


class Nest(NamedTuple):
    """The lists and tables around a box; places of boxes, 0 for none."""

    list: int = 0
    depth: int = 0  # of lists
    item: int = 0
    mark: str = ""  # of the item
    table: int = 0
    row: int = 0
    cell: int = 0
    column: int = 0  # of the cell, counted from 0


def nests_of(page: Page) -> list[Nest]:
    """Returns for each box what is around it; a box that adds nothing shares its parent's."""
    nests = [Nest()]
    counts: Counter[int] = Counter()  # of the items of each list, of the cells of each row
    for place, box in enumerate(page.boxes[1:], start=1):
        around = nests[box.parent]
        if box.tag in ("ul", "ol"):
            around = around._replace(list=place, depth=around.depth + 1, item=0)
        elif box.tag == "li":
            counts[around.list] += 1
            ordered = page.boxes[around.list].tag == "ol"
            around = around._replace(item=place, mark=f"{counts[around.list]}. " if ordered else "- ")
        elif box.tag == "table":
            around = Nest(table=place)
        elif box.tag == "tr":
            around = around._replace(row=place, cell=0)
        elif box.tag in ("td", "th") and around.row:
            around = around._replace(cell=place, column=counts[around.row])
            counts[around.row] += 1
        nests.append(around)
    return nests


def data_tables(page: Page, nests: list[Nest]) -> set[int]:
    """Returns the places of the tables that hold data, in rows and columns, rather than the layout of the page."""
    layout: set[int] = set()
    rows: Counter[int] = Counter()
    wide: set[int] = set()
    for box, around in zip(page.boxes, nests, strict=True):
        if box.tag == "table":
            layout.add(nests[box.parent].table)  # the table around it
        elif box.tag == "tr":
            rows[around.table] += 1
        elif box.tag in ("td", "th"):
            if around.column:
                wide.add(around.table)
            if box.size > _CELL_SIZE:
                layout.add(around.table)
    for block in page.blocks:
        if block.tag in HEADINGS or block.tag == "pre":
            layout.add(nests[block.box].table)
    return {table for table, count in rows.items() if count > 1 and table in wide} - layout


def write(page: Page, nests: list[Nest], tables: set[int], places: list[int]) -> str:
    """Writes the blocks at these places, in order; `tables` are those with data."""
    parts: list[str] = []
    before, tag = Nest(), ""
    for place in places:
        block = page.blocks[place]
        around = nests[block.box]
        if around.cell and around.table in tables:
            parts.append(_cell(block, around, before))
        elif around.item:
            parts.append(_item(block, around, before))
        else:
            parts.append(("\n" if block.tag == "dd" and tag == "dt" else "\n\n") + block.text)
        before, tag = around, block.tag
    return "".join(parts).strip("\n")


def _cell(block: Block, around: Nest, before: Nest) -> str:
    text = block.text.replace("\n", " ")
    if around.cell == before.cell:
        return " " + text
    if around.row == before.row:
        return " | " * (around.column - before.column) + text
    return ("\n" if around.table == before.table else "\n\n") + " | " * around.column + text


def _item(block: Block, around: Nest, before: Nest) -> str:
    indent = "  " * (min(around.depth, _DEEPEST) - 1)
    mark = "  " if around.item == before.item else around.mark
    return ("\n" if before.item else "\n\n") + indent + mark + block.text.replace("\n", "\n" + indent + "  ")
