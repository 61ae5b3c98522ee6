"""Listing inputs and dividing them: the same for paths, folders, globs and URLs, whoever reads them."""

from __future__ import annotations

import itertools
import os
import pickle
import zipfile

import fsspec
import pytest

from lm.common.errors import UserError
from lm.data.curate.read import File, Options, list_files, read, units

NAMES = ["a.txt", "b/c.txt", "b/d.txt", "e f#1.txt"]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "input"
    for name in [*NAMES, ".hidden.txt", ".git/x.txt", "b/.cache/y.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text of {name}")
    return root


def texts(pattern):
    return {file.name: [record.text for record in read(file, Options(), "s")] for file in list_files(pattern)}


def test_a_folder_gives_its_visible_files_in_the_order_of_their_names(folder):
    files = list_files(str(folder))
    assert [file.name for file in files] == NAMES
    assert [file.bytes for file in files] == [len(f"text of {name}") for name in NAMES]
    assert texts(str(folder)) == {name: [f"text of {name}"] for name in NAMES}
    assert texts(f"{folder}/") == texts(str(folder)) == texts(folder.as_uri())


def test_one_file_and_a_glob_name_files_below_their_common_folder(folder):
    assert texts(str(folder / "b/c.txt")) == {"c.txt": ["text of b/c.txt"]}
    assert sorted(texts(f"{folder}/b/*.txt")) == ["c.txt", "d.txt"]
    assert sorted(texts(f"{folder}/**/[cd].txt")) == ["b/c.txt", "b/d.txt"]


def test_other_stores_are_read_like_folders(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "input.zip", "w") as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    memory = fsspec.filesystem("memory")
    for name in NAMES:
        memory.pipe(f"/curate-test/{name}", (folder / name).read_bytes())
    try:
        expected = texts(str(folder))
        assert texts("memory://curate-test") == expected
        assert texts("memory://curate-test/b/*.txt") == {"c.txt": expected["b/c.txt"], "d.txt": expected["b/d.txt"]}
        assert texts(f"zip://::{(tmp_path / 'input.zip').as_uri()}") == expected
        assert texts(f"zip://b/*.txt::{(tmp_path / 'input.zip').as_uri()}").keys() == {"c.txt", "d.txt"}
        assert texts(f"zip://a.txt::{(tmp_path / 'input.zip').as_uri()}") == {"a.txt": expected["a.txt"]}
    finally:
        memory.rm("/curate-test", recursive=True)


def test_the_version_changes_with_the_file_and_only_then(folder):
    before = list_files(str(folder))
    assert list_files(str(folder)) == before
    os.utime(folder / "a.txt", (1, 1))
    after = list_files(str(folder))
    assert after[0].version != before[0].version
    assert after[1:] == before[1:]
    assert pickle.loads(pickle.dumps(after)) == after


@pytest.mark.parametrize(
    "pattern", ["nowhere", "*.nothing", "nowhere/*/x", "empty", "nosuch://x", "zip://x::nowhere.zip"]
)
def test_nothing_found_is_one_line_for_the_user(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        list_files(pattern)
    assert pattern in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_to_files_are_read_and_links_to_folders_are_refused(folder, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a.txt").symlink_to(folder / "a.txt")
    assert texts(str(linked)) == {"a.txt": ["text of a.txt"]}
    assert list_files(str(linked))[0].bytes == len("text of a.txt")
    (linked / "b").symlink_to(folder / "b")
    with pytest.raises(UserError, match="a link to a folder"):
        list_files(str(linked))


def test_a_file_that_has_gone_is_one_line_for_the_user(folder):
    files = list_files(str(folder))
    (folder / "a.txt").unlink()
    with pytest.raises(UserError, match=r"a\.txt: cannot be opened"):
        list(read(files[0], Options(), "s"))


def test_units_keep_order_and_bounds_and_no_file_is_lost():
    sizes = [3, 4, 5, 100, 1, 0, 0, 9, 10, 11, 2]
    files = tuple(File(f"/{n}", f"{n}", size, "") for n, size in enumerate(sizes))
    divided = units(files, target_bytes=10)
    assert tuple(itertools.chain(*divided)) == files
    for unit in divided:
        assert len(unit) == 1 or sum(file.bytes for file in unit) <= 10
    for one, other in itertools.pairwise(divided):  # no two neighbours could have been one
        assert sum(file.bytes for file in one) + other[0].bytes > 10
    assert units(()) == ()
