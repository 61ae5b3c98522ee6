"""No text makes a pattern backtrack for ever: long runs of what each pattern is made of are done with."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest

from lm.data.curate import secrets
from lm.data.curate.document import Document
from lm.data.curate.language import Language
from lm.data.curate.personal import addresses, banking, emails, phones
from lm.data.curate.pii import RemovePII
from lm.data.curate.rules import C4, Code, Dialogue, c4, code, dialogue

SECONDS = 100  # what takes the square of its time needs several hundred
STEPS: dict[str, tuple[Callable[[Document], Any], tuple[ModuleType, ...]]] = {
    "secrets": (secrets.RemoveSecrets(), (secrets,)),
    "pii": (RemovePII(), (addresses, banking, emails, phones)),
    "code": (Code().measure, (code,)),
    "c4": (C4(), (c4,)),
    "dialogue": (Dialogue().measure, (dialogue,)),
    "language": (Language(), ()),  # has no patterns, and must take anything
}
KNOWN = (
    'token = "' + "a" * 40 + '!1"\n',
    'secret = "' + "aB" * 140 + '-!1"\n',
    "-eyJ",
    "-eyJaaaaaaaaaa.eyJ",
    "code generated ",
    "a@a dot ",
    "-----BEGIN PRIVATE KEY-----" + "n" * 30,
    "://a:b",
    "0x00, ",
)


def patterns(module: ModuleType) -> Iterator[re.Pattern[str]]:
    for value in vars(module).values():
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, tuple):
            yield from (entry.form for entry in value if isinstance(getattr(entry, "form", None), re.Pattern))


def pieces(modules: Iterable[ModuleType]) -> list[str]:
    """Returns the words and marks that the patterns of modules are written with."""
    found = {" ", "\n", "0", "a", "A"}
    for module in modules:
        for pattern in patterns(module):
            found |= set(re.findall(r"\w+|[^\w\s]", re.sub(r"\\[A-Za-z]", " ", pattern.pattern)))
    return sorted(found)


def run(unit: str, size: int) -> str:
    return unit * (size // len(unit)) + "!"


def texts(kind: str, modules: Iterable[ModuleType]) -> Iterator[str]:
    """Yields long runs of what is known, or of each piece: alone, beside a mark, and its last character again."""
    if kind == "known":
        yield from (run(unit, 1_000_000) for unit in KNOWN)
        return
    for piece in pieces(modules):
        for unit in (piece, f"-{piece}", f"{piece} ", f"{piece}="):
            yield run(unit, 200_000)
        yield piece + run(piece[-1], 200_000)


def finishes(step: str, kind: str) -> None:
    subprocess.run([sys.executable, __file__, step, kind], timeout=SECONDS, check=True)


@pytest.mark.parametrize("step", STEPS)
def test_runs_of_what_was_once_too_slow_are_done_with(step: str) -> None:
    finishes(step, "known")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_runs_of_what_patterns_are_made_of_are_done_with(step: str) -> None:
    finishes(step, "pieces")


if __name__ == "__main__":
    take, modules = STEPS[sys.argv[1]]
    for number, text in enumerate(texts(sys.argv[2], modules)):
        take(Document(f"a#{number}", text, "s"))
