"""Quoted code: every name that the chapters use exists, and is cut out whole."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from lm.common.errors import UserError

SOURCE = '''"""What the module is about."""

# Why it is four.
# In two lines.
LIMIT: int = 4
OTHER = 5


@decorator
class Thing:
    """What a thing is."""

    @property
    def part(self) -> int:
        """Returns a part."""
        # The loop is short.
        def inner(x: int) -> int:
            return x + LIMIT

        return inner(1)
'''


@pytest.fixture
def module(handbook: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The snippets module, looking at a repository with one module, `some.module`."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "module.py").write_text(SOURCE)
    monkeypatch.setattr(handbook.snippets, "ROOT", tmp_path)
    return handbook.snippets


def chapter(folder: Path, text: str) -> Path:
    path = folder / "06-decoder.typ"
    path.write_text(text)
    return path


def test_every_quoted_name_exists(handbook: SimpleNamespace) -> None:
    chapters = handbook.build.chapters()
    found = handbook.snippets.collect(chapters)
    assert len(found) >= 40
    for name, snippet in found.items():
        assert (handbook.snippets.ROOT / snippet["file"]).is_file(), name
        if not name.endswith(Path(snippet["file"]).stem):  # code, not a module's docstring
            assert len(ast.parse(snippet["full"]).body) == 1, name
            assert len(ast.parse(snippet["bare"]).body) == 1, name


def test_no_line_of_quoted_code_is_wider_than_the_page(handbook: SimpleNamespace) -> None:
    for name, snippet in handbook.snippets.collect(handbook.build.chapters()).items():
        assert max(map(len, snippet["full"].splitlines())) <= 120, name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lm.model.block.Blok", "lm/model/block.py has no Blok"),
        ("lm.model.block.Block.call", "lm/model/block.py has no call"),
        ("nowhere.at.all", "no such module"),
    ],
)
def test_missing_name_fails_in_one_line_that_names_it(
    handbook: SimpleNamespace, tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(UserError) as caught:
        handbook.snippets.collect([chapter(tmp_path, f'= Title\n#snippet("{name}", doc: false)\n')])
    assert str(caught.value) == f"06-decoder.typ: snippet {name}: {why}; quote it by its present name"


def test_build_ends_with_code_2_and_that_line(
    handbook: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(handbook.build, "chapters", lambda: [chapter(tmp_path, '#snippet("lm.api.Modle")')])
    monkeypatch.setattr("sys.argv", ["build.py", f"--output={tmp_path / 'handbook.pdf'}"])
    assert handbook.build.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("handbook: 06-decoder.typ: snippet lm.api.Modle: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "handbook.pdf").exists()


def test_module_is_its_docstring(module: SimpleNamespace) -> None:
    assert module.extract("some.module").full == "What the module is about."


def test_constant_comes_with_the_comment_above_it(module: SimpleNamespace) -> None:
    assert module.extract("some.module.LIMIT").full == "# Why it is four.\n# In two lines.\nLIMIT: int = 4"
    assert module.extract("some.module.OTHER").full == "OTHER = 5"


def test_definition_comes_with_its_decorator_and_loses_its_docstring_on_demand(module: SimpleNamespace) -> None:
    thing = module.extract("some.module.Thing")
    assert thing.full.startswith('@decorator\nclass Thing:\n    """What a thing is."""\n\n    @property')
    assert thing.bare.startswith("@decorator\nclass Thing:\n    @property\n    def part")
    assert '"""Returns a part."""' in thing.bare


def test_inner_definition_is_dedented(module: SimpleNamespace) -> None:
    inner = module.extract("some.module.Thing.part.inner")
    assert inner.full == "# The loop is short.\ndef inner(x: int) -> int:\n    return x + LIMIT"
    assert inner.bare == inner.full
