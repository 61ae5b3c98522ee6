"""Directories in buckets: what goes there and comes back is whole, and what fails on the way is tried again, or named.

The bucket is a stand-in that speaks Google's own protocol with Google's own clients, and can fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm.common import buckets, manifest
from lm.common.errors import UserError
from tests.common.object_store import ObjectStore, serving

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # gcsfs reads it when it is imported
gcsfs = pytest.importorskip("gcsfs")
RUN = "gs://bucket/runs/mine"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty store that this process's clients are led to."""
    found = ObjectStore()
    with serving(found) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield found
    gcsfs.GCSFileSystem.clear_instance_cache()


def a_stage(directory: Path, text: str = "abc") -> Path:
    """Writes a finished stage of three files, one in a folder."""
    (directory / "inner").mkdir(parents=True)
    files = [directory / "a.txt", directory / "b.txt", directory / "inner" / "c.txt"]
    for path in files:
        path.write_text(text + path.name)
    manifest.write(directory, stage="shard", config={}, inputs={}, counts={}, files=files)
    return directory


def send(directory: Path, address: str) -> None:
    """Copies a directory to a bucket."""
    with buckets.at_hand(address) as copy:
        for path in directory.rglob("*"):
            if path.is_file():
                target = copy / path.relative_to(directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())


def test_a_directory_on_a_disk_is_itself(tmp_path: Path) -> None:
    with buckets.at_hand(str(tmp_path)) as directory:
        assert directory == tmp_path
        assert buckets.origin(directory) is None
        assert buckets.push(directory) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_sent_back_and_comes_again(store: ObjectStore) -> None:
    with buckets.at_hand(RUN) as copy:
        assert buckets.origin(copy) == RUN
        (copy / "inner").mkdir()
        (copy / "metrics.jsonl").write_text("1\n")
        (copy / "inner" / "config.json").write_text("{}")
        assert buckets.push(copy) == 2
        with (copy / "metrics.jsonl").open("a") as stream:
            stream.write("2\n")
        assert buckets.push(copy) == 1
        assert buckets.push(copy) == 0
        (copy / "report.html").write_text("all")
    assert not copy.exists()
    assert store.names("bucket") == [
        f"runs/mine/{name}" for name in ("inner/config.json", "metrics.jsonl", "report.html")
    ]
    written = dict(store.objects)
    with buckets.at_hand(f"{RUN}/") as copy:
        assert (copy / "metrics.jsonl").read_text() == "1\n2\n"
        assert (copy / "inner" / "config.json").read_text() == "{}"
    assert store.objects == written  # nothing changed, so nothing was sent


def test_what_was_done_is_sent_though_the_work_failed(store: ObjectStore) -> None:
    def work() -> None:
        with buckets.at_hand(RUN) as copy:
            (copy / "nonfinite.json").write_text("{}")
            raise UserError(f"{copy / 'nonfinite.json'}: look at it")

    with pytest.raises(UserError, match=f"^{RUN}/nonfinite.json: look at it$"):
        work()
    assert store.names("bucket") == ["runs/mine/nonfinite.json"]


def test_manifests_are_sent_last(store: ObjectStore, tmp_path: Path) -> None:
    a_stage(a_stage(tmp_path / "stage") / "inner" / "stage")
    send(tmp_path / "stage", RUN)
    order = sorted(store.objects, key=lambda key: store.objects[key][0])
    names = [name.removeprefix("runs/mine/") for _, name in order]
    assert names[-2:] == ["inner/stage/manifest.json", "manifest.json"]


def test_checkpoints_are_left_to_orbax(store: ObjectStore) -> None:
    store.objects["bucket", "runs/mine/checkpoints/3/state/a"] = 1, b"x"
    store.objects["bucket", "runs/mine/config.json"] = 2, b"{}"
    with buckets.at_hand(RUN) as copy:
        assert [path.name for path in copy.iterdir() if path.name[0] != "."] == ["config.json"]


def test_a_refused_bucket_is_one_line(store: ObjectStore) -> None:
    def work() -> None:
        with buckets.at_hand(RUN) as copy:
            (copy / "a").write_text("a")
            store.refused = True

    with pytest.raises(UserError, match=f"^{RUN}/a: failed with .*storage.objects.create") as caught:
        work()
    assert "\n" not in str(caught.value)


def test_a_bucket_that_fails_one_call_in_five_loses_nothing(store: ObjectStore, tmp_path: Path) -> None:
    store.every = 5
    a_stage(tmp_path / "stage")
    for number in range(3):
        (tmp_path / "stage" / f"more-{number}").write_text(str(number))
    send(tmp_path / "stage", RUN)
    with buckets.at_hand(RUN) as copy:
        sent = {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name[0] != "."}
    assert store.failed > 1
    assert sent == {path.name: path.read_bytes() for path in (tmp_path / "stage").rglob("*") if path.is_file()}


def test_a_finished_stage_is_fetched_once(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(buckets.CACHE, str(tmp_path / "cache"))
    send(a_stage(tmp_path / "stage"), RUN)
    assert buckets.stage_of(RUN) == "shard"
    directory = buckets.fetched(RUN)
    assert manifest.verify(directory) == []
    assert manifest.read(directory, "shard") == manifest.read(tmp_path / "stage")
    calls = store.calls
    assert buckets.fetched(f"{RUN}/") == directory
    assert store.calls == calls + 1  # the manifest alone
    send(a_stage(tmp_path / "other", "xyz"), RUN)
    assert buckets.fetched(RUN) != directory


def test_what_is_not_what_the_manifest_says_is_named(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(buckets.CACHE, str(tmp_path / "cache"))
    send(a_stage(tmp_path / "stage"), RUN)
    generation, content = store.objects["bucket", "runs/mine/b.txt"]
    store.objects["bucket", "runs/mine/b.txt"] = generation, content[:-1] + b"!"
    with pytest.raises(UserError, match=r"bucket/runs/mine/b\.txt: content differs from manifest\.json"):
        buckets.fetched(RUN)
    assert not list((tmp_path / "cache").rglob("b.txt*"))


def test_half_a_stage_is_none(store: ObjectStore, tmp_path: Path) -> None:
    store.objects["bucket", "runs/mine/a.txt"] = 1, b"a"
    assert buckets.stage_of(RUN) is None
    with pytest.raises(UserError, match=r"gs://bucket/runs/mine: no manifest\.json here"):
        buckets.fetched(RUN)


def test_checkpoints_are_where_orbax_takes_them(store: ObjectStore, tmp_path: Path) -> None:
    assert buckets.checkpoints(tmp_path) == tmp_path / "checkpoints"
    with buckets.at_hand(RUN) as copy:
        assert str(buckets.checkpoints(copy)) == f"{RUN}/checkpoints"


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/a/b"])
def test_an_address_never_becomes_a_folder_of_that_name(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^--output={address}: only --workdir and --run"):
        buckets.refuse(Path(address), "--output")
    buckets.refuse(tmp_path, "--output")
    buckets.refuse(Path(""), "--output")
