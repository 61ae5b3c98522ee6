"""Imports point one way: each package may import those above it in the list, never those below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Packages on one line do not import each other. `lm` itself holds the version, and everyone may read that.
ORDER = (
    ("lm",),
    ("common",),
    ("data", "model"),
    ("convert",),
    ("train",),
    ("infer",),
    ("evals",),
    ("tune",),
    ("study",),
    ("api",),
    ("stages",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
# `lm.load` is resolved on first use, by a function of the package itself.
LAZY = {("lm/__init__.py", "api")}


def part_of(module: str) -> str:
    """`lm.data.shards` belongs to `data`; `lm` to itself."""
    _, _, inner = module.partition(".")
    return inner.split(".")[0] or "lm"


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yields `(line, module)` of every import of ours, at module level or in a function, by statement or by name."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and leaf.value]
        for name in map(str, names):
            if name.split(".")[0] == "lm":
                yield node.lineno, name


def violations(path: str, source: str) -> list[str]:
    """Returns one line for every import in a file of `lm/` that points the wrong way."""
    parts = Path(path).with_suffix("").parts
    package = ".".join(parts if parts[-1] == "__init__" else parts[:-1]).removesuffix(".__init__")
    own = part_of(".".join(parts).removesuffix(".__init__"))
    found = []
    for line, module in imported(ast.parse(source), package):
        other = part_of(module)
        if other not in LEVEL:  # `from lm import __version__`: a name of the package, not a part
            other = "lm"
        allowed = other == own or LEVEL[other] < LEVEL[own] or (path, other) in LAZY
        if not allowed:
            found.append(f"{path}:{line}: {own} imports {module}")
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_part_of_the_package_has_its_place() -> None:
    parts = {part_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in sources("lm")}
    assert parts - {"__init__"} <= LEVEL.keys()
    assert {"common", "data", "model", "train", "cli"} <= parts


def test_imports_point_one_way() -> None:
    found = []
    for path in sources("lm"):
        found += violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    assert found == []


def test_the_library_imports_neither_configs_nor_experiments_nor_tests() -> None:
    outside = {"configs", "experiments", "benchmarks", "tests"}
    found = []
    for path in sources("lm"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path, alias.name) for alias in node.names if alias.name.split(".")[0] in outside]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found += [(path, node.module)] if node.module.split(".")[0] in outside else []
    assert found == []


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("lm/data/split.py", "import lm.model.config", True),
        ("lm/model/config.py", "from lm.data.shards import Shards", True),
        ("lm/data/split.py", "from lm import model", True),
        ("lm/train/loop.py", "def f():\n    from lm.evals import graders", True),
        ("lm/train/loop.py", "def f():\n    import importlib\n    importlib.import_module('lm.evals.x')", True),
        ("lm/common/mesh.py", "from ..model import config", True),
        ("lm/infer/decode.py", "from lm.infer import sampling", False),
        ("lm/infer/decode.py", "from .sampling import Sampling", False),
        ("lm/common/manifest.py", "import lm\nfrom lm import __version__", False),
        ("lm/evals/code.py", "from lm.train import loss", False),
        ("lm/api.py", "from lm.stages import pretrain", True),
        ("lm/cli.py", "import importlib\nimportlib.import_module(f'lm.stages.{name}')", False),
        ("lm/__init__.py", "from lm.api import load", False),
        ("lm/__init__.py", "from lm.common import errors", True),
        ("lm/common/__init__.py", "from lm.api import load", True),
    ],
)
def test_the_check_itself_sees_what_it_should(path: str, source: str, wrong: bool) -> None:
    assert bool(violations(path, source)) is wrong
