"""Stage directories are whole or absent, and what changed in one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.common import manifest
from lm.common.errors import UserError

CONFIG = {"seed": 1, "data": {"path": "a.txt"}}
INPUTS = {"data": "0123456789abcdef"}


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A finished stage of two files, one in a folder."""
    directory = tmp_path / "out"
    (directory / "part").mkdir(parents=True)
    (directory / "a.bin").write_bytes(b"hello")
    (directory / "part" / "b.bin").write_bytes(bytes(3_000_000))
    files = [directory / "part" / "b.bin", directory / "a.bin"]
    manifest.write(directory, stage="shard", config=CONFIG, inputs=INPUTS, counts={"tokens": 5}, files=files)
    return directory


def test_what_is_written_is_read(stage: Path) -> None:
    read = manifest.read(stage, "shard")
    assert (read.config, read.inputs, read.counts) == (CONFIG, INPUTS, {"tokens": 5})
    assert [(entry.name, entry.bytes) for entry in read.files] == [("a.bin", 5), ("part/b.bin", 3_000_000)]
    assert read.files[0].sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert manifest.verify(stage) == []
    assert sorted(path.name for path in stage.iterdir()) == ["a.bin", "manifest.json", "part"]


def test_without_a_manifest_there_is_no_stage(tmp_path: Path) -> None:
    assert manifest.find(tmp_path, "shard") is None
    assert manifest.find_same(tmp_path, "shard", config={}, inputs={}) is None
    with pytest.raises(UserError, match="no finished stage"):
        manifest.read(tmp_path)


def test_another_stage_s_directory_is_refused(stage: Path) -> None:
    with pytest.raises(UserError, match="made by `lm shard`, but `lm tokenizer` output is needed"):
        manifest.find(stage, "tokenizer")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": [{"name": 1}]}', "\udcff"])
def test_what_is_not_a_manifest_is_named(stage: Path, text: str) -> None:
    (stage / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest"):
        manifest.read(stage)


def test_a_truncated_and_a_missing_file_are_named_on_reading(stage: Path) -> None:
    (stage / "part" / "b.bin").write_bytes(bytes(2_999_999))
    with pytest.raises(UserError, match=r"b\.bin: 2999999 bytes, but manifest\.json says 3000000"):
        manifest.read(stage)
    (stage / "a.bin").unlink()
    with pytest.raises(UserError, match=r"a\.bin: missing"):
        manifest.read(stage)


def test_verify_names_every_altered_file(stage: Path) -> None:
    (stage / "a.bin").write_bytes(b"jello")
    (stage / "part" / "b.bin").write_bytes(bytes(2_999_999) + b"\x01")
    assert len(manifest.read(stage).files) == 2  # sizes agree: only hashing tells
    first, second = manifest.verify(stage)
    assert first.startswith(f"{stage / 'a.bin'}: content differs")
    assert second.startswith(f"{stage / 'part' / 'b.bin'}: content differs")


def test_a_stage_is_the_same_only_with_the_same_config_and_inputs(stage: Path) -> None:
    assert manifest.find_same(stage, "shard", config=CONFIG, inputs=INPUTS) == manifest.read(stage)
    changed = {"seed": 2, "data": {"path": "a.txt"}, "new": True}
    with pytest.raises(UserError) as caught:
        manifest.find_same(stage, "shard", config=changed, inputs={"data": "f" * 16})
    for phrase in ("config.seed 1 → 2", "config.new None → True", "data itself", "another --workdir"):
        assert phrase in str(caught.value)


@pytest.mark.parametrize("data", ["text é\n", b"\x00bytes"])
def test_write_atomic_replaces_the_whole_file(tmp_path: Path, data: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("something longer that was there before")
    manifest.write_atomic(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        manifest.write_atomic(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stage_made_again_has_the_fingerprint_it_had_and_one_of_another_content_has_not(tmp_path: Path) -> None:
    def made(name: str, content: str, config: int = 0) -> str:
        directory = tmp_path / f"{name}-{content}-{config}"
        directory.mkdir()
        (directory / f"part-{name}.bin").write_text(content)
        written = {"stage": "shard", "config": {"a": config}, "inputs": {"text": name}, "counts": {}}
        manifest.write(directory, **written, files=[directory / f"part-{name}.bin"])  # type: ignore[arg-type]
        return manifest.fingerprint_stage(directory)

    assert made("first", "text") == made("second", "text")
    assert made("third", "other") != made("fourth", "text") != made("fifth", "text", config=1)


def test_fingerprints_follow_what_they_stand_for(stage: Path) -> None:
    assert manifest.fingerprint({"a": 1, "b": [2]}) == manifest.fingerprint({"b": [2], "a": 1})
    assert manifest.fingerprint({"a": 1}) != manifest.fingerprint({"a": 2})
    files = [stage / "a.bin", stage / "part" / "b.bin"]
    before = manifest.fingerprint_files(files)
    assert before == manifest.fingerprint_files(reversed(files))
    of_stage = manifest.fingerprint_stage(stage)
    (stage / "a.bin").write_bytes(b"hello, longer")
    assert manifest.fingerprint_files(files) != before
    with pytest.raises(UserError, match=r"a\.bin"):
        manifest.fingerprint_stage(stage)
    assert {len(before), len(of_stage), len(manifest.fingerprint(1))} == {16}


def test_attempts_never_share_a_name() -> None:
    assert len({manifest.attempt_id() for _ in range(200)}) == 200
