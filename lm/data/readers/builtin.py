"""Text found on every machine, without a network: the interpreter's own library, and the generated world."""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.readers import code
from lm.data.readers.base import Document, Documents, File, FileDocuments, Read
from lm.data.readers.text import ReadText

PREFIX = "builtin:"
_WORLD_DEFAULTS = {"n": "20000", "seed": "0", "split": "train"}
# Tests, programs with a window, other people's packages; encodings is 1.4 MB of generated number tables.
_PRUNED_FOLDERS = "__pycache__ test tests idle_test idlelib lib2to3 turtledemo site-packages dist-packages encodings"
_BUILD_PREFIXES = ("_sysconfigdata", "_sysconfig_vars", "config-")  # how this interpreter was built, on what machine
_TOPICS = "pydoc_data/topics.py"


def open_builtin(path: str) -> Documents:
    """Opens `builtin:stdlib` or `builtin:world[?n=20000&seed=0&split=train]`.

    Raises:
        UserError: an unknown name or parameter, or an interpreter whose library is not in files.
    """
    name, _, query = path.removeprefix(PREFIX).partition("?")
    if name == "world":
        return _open_world(path, query)
    if name == "stdlib" and not query:
        return _open_stdlib(path)
    raise UserError(f"{path}: unknown; use builtin:stdlib or builtin:world?n=20000&seed=0")


def _open_stdlib(path: str) -> FileDocuments[str]:
    root = Path(sysconfig.get_path("stdlib"))
    skipped: Counter[str] = Counter()
    files = []
    for file in code.walk(root, frozenset(_PRUNED_FOLDERS.split()), skipped) if root.is_dir() else ():
        id = file.relative_to(root).as_posix()
        if file.suffix not in (".py", ".rst", ".txt") or id.startswith(_BUILD_PREFIXES):
            continue
        read: Read[str] = ReadTopics() if id == _TOPICS else ReadText()
        if reason := code.skip_reason(file):
            skipped[reason] += 1
        else:
            files.append(File(file, id, read))
    if not files:
        raise UserError(f"{path}: this interpreter has no library sources in {root}; give a folder of text instead")
    return FileDocuments(path, tuple(files), Document, dict(skipped))


def _open_world(path: str, query: str) -> WorldDocuments:
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := given.keys() - _WORLD_DEFAULTS.keys():
        raise UserError(f"{path}: unknown parameter {min(unknown)!r}; known: {', '.join(_WORLD_DEFAULTS)}")
    values = _WORLD_DEFAULTS | given
    for key in ("n", "seed"):
        if not values[key].isdecimal():
            raise UserError(f"{path}: {key}={values[key]} is not a whole number; write it like {key}=20000")
    n, split = int(values["n"]), values["split"]
    if n == 0:
        raise UserError(f"{path}: n=0 documents; write n=1 or more")
    if split not in ("train", "test"):
        raise UserError(f"{path}: split={split}: the world has split=train and split=test")
    return WorldDocuments(path, n, int(values["seed"]), "train" if split == "train" else "test")


@dataclass(frozen=True)
class ReadTopics:
    """Reads the language reference that `help()` shows: a module with one dictionary of texts by topic."""

    def __call__(self, path: Path, id: str) -> Iterator[tuple[str, str]]:
        for statement in ast.parse(path.read_bytes()).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
                for topic, text in sorted(ast.literal_eval(statement.value).items()):
                    yield f"{id}:{topic}", text


@dataclass(frozen=True)
class WorldDocuments:
    """Documents of the generated world with this seed: `n` of them, from its train or test split."""

    name: str
    n: int
    seed: int
    split: Literal["train", "test"]

    def __iter__(self) -> Iterator[Document]:
        from lm.data.synthetic import World

        for document in World(self.seed).documents(split=self.split, n=self.n):
            yield Document(document.id, document.text, self.name)

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the parameters and the generator's own source code."""
        sources = sorted((Path(__file__).parents[1] / "synthetic").rglob("*.py"))
        return manifest.fingerprint([self.n, self.seed, self.split, [manifest.sha256_file(path) for path in sources]])

    def size_bytes(self) -> int:
        """Returns 0: what is not generated yet has no size."""
        return 0

    def describe(self) -> str:
        """Returns one line with the parameters."""
        return f"{self.name}: {self.n} generated documents, seed {self.seed}, {self.split} split"
