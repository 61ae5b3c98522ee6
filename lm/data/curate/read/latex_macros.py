"""Expands the macros that a LaTeX source defines for itself, which nobody outside it could read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_COMMAND = (
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*(?:\{\s*\\(?P<name>[A-Za-z]+)\s*\}"
    r"|\\(?P<bare>[A-Za-z]+))\s*(?:\[(?P<count>\d)\]\s*)?(?:\[(?P<default>[^\[\]]*)\]\s*)?(?=\{)"
)
_DEF = r"\\def\s*\\(?P<def>[A-Za-z]+)\s*(?P<parameters>(?:#\d)*)\s*(?=\{)"
_OPERATOR = (
    r"\\DeclareMathOperator\*?\s*(?:\{\s*\\(?P<operator>[A-Za-z]+)\s*\}|\\(?P<bare_operator>[A-Za-z]+))\s*(?=\{)"
)
_DEFINITION = re.compile(f"{_COMMAND}|{_DEF}|{_OPERATOR}")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_OPENED, _OPTIONAL = re.compile(r"\s*(?=\{)"), re.compile(r"\s*\[([^\[\]]*)\]")
_TOKEN = re.compile(r"\s*(\\[A-Za-z]+|\\.|[^\s{}])", re.DOTALL)
_PARAMETER = re.compile(r"#(\d)")
_MAX_BODY = 2000
_MAX_PASSES = 8
_MAX_GROWTH = 4  # times what stood there, so that macros of macros cannot explode


class Macro(NamedTuple):
    """A macro's body, how many arguments it takes, and the first one's default if it may be left out."""

    body: str
    arity: int = 0
    default: str | None = None


def group(text: str, at: int, limit: int) -> tuple[str, int] | None:
    """Returns what stands in the braces that open at `at`, and where they end; None if not within `limit`."""
    depth = 0
    for match in _BRACE.finditer(text, at, min(len(text), at + limit)):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return text[at + 1 : match.start()], match.end()
    return None


def expand(source: str) -> str:
    """Returns a source without its short definitions, and with their bodies where they were used."""
    macros: dict[str, Macro] = {}
    kept, at = [], 0
    for match in _DEFINITION.finditer(source):
        if match.start() < at or not (found := group(source, match.end(), _MAX_BODY)):
            continue
        name, macro = _definition(match, found[0])
        if not re.search(rf"\\{name}(?![A-Za-z])", macro.body):  # it would never end
            macros[name] = macro
            kept.append(source[at : match.start()])
            at = found[1]
    text = "".join(kept) + source[at:]
    limit = _MAX_GROWTH * len(text) + _MAX_BODY
    used = re.compile(r"\\(" + "|".join(sorted(macros, key=lambda name: (-len(name), name))) + r")(?![A-Za-z@])")
    for _ in range(_MAX_PASSES if macros else 0):
        expanded = _once(text, used, macros, limit)
        if expanded is None or expanded == text:
            break
        text = expanded
    return text


def _definition(match: re.Match[str], body: str) -> tuple[str, Macro]:
    if operator := match["operator"] or match["bare_operator"]:
        return operator, Macro(rf"\operatorname{{{body}}}")
    if match["def"]:
        return match["def"], Macro(body, match["parameters"].count("#"))
    count = int(match["count"] or 0)
    return match["name"] or match["bare"], Macro(body, count, match["default"] if count else None)


def _once(text: str, used: re.Pattern[str], macros: dict[str, Macro], limit: int) -> str | None:
    """Returns the text with each use expanded once; None if that would be too long."""
    parts, at, size = [], 0, len(text)
    for match in used.finditer(text):
        if match.start() < at:  # within an argument: the next pass's
            continue
        macro = macros[match[1]]
        arguments = list(_arguments(text, match.end(), macro))
        if len(arguments) < macro.arity:
            continue
        values = [value for value, _ in arguments]
        body = _PARAMETER.sub(lambda parameter: values[int(parameter[1]) - 1], macro.body) if values else macro.body  # noqa: B023
        parts += [text[at : match.start()], body]
        at = arguments[-1][1] if arguments else match.end()
        size += len(body)
        if size > limit:
            return None
    return "".join(parts) + text[at:]


def _arguments(text: str, at: int, macro: Macro) -> Iterator[tuple[str, int]]:
    """Yields each argument and where it ends."""
    for index in range(macro.arity):
        if index == 0 and macro.default is not None:
            optional = _OPTIONAL.match(text, at)
            at = optional.end() if optional else at
            yield (optional[1] if optional else macro.default), at
            continue
        if not (token := _OPENED.match(text, at)):
            if not (token := _TOKEN.match(text, at)):
                return
            at = token.end()
            yield token[1], at
        elif found := group(text, token.end(), _MAX_BODY):
            at = found[1]
            yield found[0], at
        else:
            return
