"""What each key of a config means: the comment that stands beside it in the source of its defaults.

A stage's `defaults()` returns a dictionary written out, whose sections may be calls of other such functions. The
comment at the end of a key's line is its explanation; so what the source says and what `--help` prints are the same.
A module whose `defaults()` are drawn from elsewhere says itself what they mean, in a function `explanations()`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from ml_collections import ConfigDict

from lm.common import config as configs

_LONGEST_COLUMN = 48


def table(defaults: Callable[[], ConfigDict], width: int) -> str:
    """Returns a row for every key but `stage`, with default and explanation, in the order of the source.

    Sections are set apart by an empty line; `width` is in characters.
    """
    config = defaults()
    values, explained = dict(configs.flatten(config)), explanations(defaults)
    order = {key: place for place, key in enumerate(explained)}
    keys = sorted((key for key in configs.leaves(config) if key != "stage"), key=lambda key: order.get(key, len(order)))
    labels = {key: f"--config.{key}={values[key]!r}" if key in values else f"--config.{key}.…=VALUE" for key in keys}
    column = min(_LONGEST_COLUMN, max(map(len, labels.values()), default=0))
    blocks = groupby(keys, key=lambda key: key.rpartition(".")[0].partition(".")[0])
    return "\n\n".join(
        "\n".join(row(labels[key], explained.get(key, ""), column, width) for key in b) for _, b in blocks
    )


def row(label: str, explanation: str, column: int, width: int) -> str:
    """Returns an indented label and, from a column on, its explanation in lines of at most `width` characters."""
    hanging = " " * (column + 4)
    return (
        textwrap.fill(
            explanation,
            max(width, len(hanging) + 30),
            initial_indent=f"  {label:<{column}}  ",
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or f"  {label}"
    )


def explanations(defaults: Callable[[], ConfigDict]) -> dict[str, str]:
    """Returns the comment beside each key by dotted key, "" where there is none, in the order of the source."""
    if own := getattr(sys.modules[inspect.unwrap(defaults).__module__], "explanations", None):
        return own()
    try:
        source = textwrap.dedent(inspect.getsource(defaults))
    except OSError:  # installed without sources: the keys are listed bare
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    tree = ast.parse(source)
    scope = _scope(defaults, tree)

    def explain(node: ast.AST | None, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:  # `**section()`: its keys stand beside these
                    yield from explain(value, prefix)
                    continue
                assert isinstance(key, ast.Constant), f"{ast.unparse(node)}: keys of defaults are written out"
                name = prefix + str(key.value)
                yield name, comments.get(key.lineno, "")
                yield from explain(value, f"{name}.")
        elif isinstance(node, ast.Call) and node.args:  # ConfigDict({…}), join({…}, …); in a placeholder is nothing
            for argument in node.args:
                yield from explain(argument, prefix)
        elif isinstance(node, ast.Call):
            yield from ((prefix + name, comment) for name, comment in explanations(_look_up(node.func, scope)).items())

    returned = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Return))
    return dict(explain(returned, ""))


def _scope(function: Callable[[], ConfigDict], tree: ast.AST) -> dict[str, Any]:
    """Returns what names mean inside a function: its module's, and those of its own `from … import …`."""
    scope = dict(inspect.unwrap(function).__globals__)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                scope[alias.asname or alias.name] = _imported(node.module, alias.name)
    return scope


def _imported(module: str, name: str) -> Any:
    """Returns what `from module import name` does: a name in the module, or a module below it."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def _look_up(name: ast.expr, scope: dict[str, Any]) -> Any:
    """Returns what a dotted name stands for."""
    if isinstance(name, ast.Attribute):
        return getattr(_look_up(name.value, scope), name.attr)
    assert isinstance(name, ast.Name), f"{ast.unparse(name)}: a section of defaults is a dictionary or a named function"
    return scope[name.id]
