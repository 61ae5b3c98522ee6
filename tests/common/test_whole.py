"""A directory, or a file, is whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.common.whole import whole_directory, whole_file


def test_it_is_in_place_only_when_all_is_done(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "made").mkdir()  # an empty one may be there
    with whole_directory(tmp_path / "deep" / "made", "--output") as folder:
        (folder / "a.txt").write_text("a")
        assert list((tmp_path / "deep" / "made").iterdir()) == []
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "made", "a.txt"]


@pytest.mark.parametrize("error", [UserError, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_what_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with whole_directory(tmp_path / "made", "--output") as folder:
            (folder / "a.txt").write_text("a")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    for path, what in ((tmp_path, "holds files"), (tmp_path / "a.txt", "is a file")):
        with pytest.raises(UserError, match=f"--output={path}: {what} already"), whole_directory(path, "--output"):
            pass
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_file_is_in_place_only_when_all_is_done(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "made.bin"
    with whole_file(path, "--output") as output:
        output.write_bytes(b"half")
        assert not path.exists()
        output.write_bytes(b"whole")
    assert [found.name for found in tmp_path.rglob("*")] == ["deep", "made.bin"]
    assert path.read_bytes() == b"whole"
    with pytest.raises(UserError, match="is there already"), whole_file(path, "--output"):
        pass


@pytest.mark.parametrize("error", [UserError, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_file_that_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "made.bin", "--output") as output:
            output.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []
