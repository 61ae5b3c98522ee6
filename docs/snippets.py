"""Snippets: code quoted from the source by dotted name, cut out with `ast` whenever the handbook is built.

A name is a module (its docstring is quoted) or something in one: `lm.model.block.Block`, `lm.train.step._split`,
`lm.train.step.make_step.step`, `lm.model.roles.ROLES`.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from lm.common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
CALL = re.compile(r'(?:snippet|moduledoc)\(\s*"([^"]+)"')


@dataclass(frozen=True)
class Snippet:
    """Code as it is printed: `full`, and `bare` of its own docstring; `file` is relative to the repository."""

    file: str
    full: str
    bare: str


def used(chapters: Sequence[Path]) -> dict[str, str]:
    """Returns every name that the chapters quote, with the file name of the first chapter that does."""
    names: dict[str, str] = {}
    for chapter in chapters:
        for name in CALL.findall(chapter.read_text(encoding="utf-8")):
            names.setdefault(name, chapter.name)
    return names


def collect(chapters: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Returns every snippet that the chapters quote, by name.

    Raises:
        UserError: a name that is not in the source; chapter and name are named.
    """
    found = {}
    for name, chapter in used(chapters).items():
        try:
            found[name] = asdict(extract(name))
        except LookupError as error:
            raise UserError(f"{chapter}: snippet {name}: {error}; quote it by its present name") from error
    return found


def extract(name: str) -> Snippet:
    """Cuts one snippet out of the source.

    Raises:
        LookupError: there is no such module, or nothing of that name in it.
    """
    path, inner = _module(name)
    source = path.read_text(encoding="utf-8")
    tree = _parse(path)
    file = path.relative_to(ROOT).as_posix()
    if not inner:
        doc = ast.get_docstring(tree)
        if doc is None:
            raise LookupError(f"{file} has no docstring")
        return Snippet(file, doc, doc)
    node: ast.AST = tree
    for part in inner:
        node = _child(node, part, file)
    lines = source.splitlines()
    first, last = _span(node, lines)
    kept = list(range(first, last + 1))
    doc_lines = _docstring_lines(node)
    bare = [number for number in kept if number not in doc_lines]
    return Snippet(file, _text(lines, kept), _text(lines, bare))


def _module(name: str) -> tuple[Path, list[str]]:
    """Returns the file of the longest prefix that is a module, and the names that remain."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        stem = ROOT.joinpath(*parts[:n])
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path, parts[n:]
    raise LookupError("no such module")


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _child(node: ast.AST, name: str, file: str) -> ast.AST:
    for child in getattr(node, "body", []):
        match child:
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found):
                names = [found]
            case ast.Assign(targets=targets):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=found)):
                names = [found]
            case _:
                names = []
        if name in names:
            return child
    raise LookupError(f"{file} has no {name}")


def _span(node: ast.AST, lines: list[str]) -> tuple[int, int]:
    """Returns first and last line (from 1), decorators and the comment right above included."""
    assert isinstance(node, ast.stmt)
    first = _first_line(node)
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    assert node.end_lineno is not None
    return first, node.end_lineno


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _docstring_lines(node: ast.AST) -> set[int]:
    """Returns the lines of a definition's own docstring, with blank lines after it."""
    match getattr(node, "body", None):
        case [ast.Expr(value=ast.Constant(value=str())) as doc, ast.stmt() as after, *_]:
            return set(range(doc.lineno, _first_line(after)))
        case _:
            return set()


def _text(lines: list[str], numbers: list[int]) -> str:
    return textwrap.dedent("\n".join(lines[number - 1] for number in numbers))
