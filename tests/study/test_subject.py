"""Runs, config files and presets are found, and laid over as many devices as they are for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.model import presets
from lm.study import subject


def test_a_run_is_what_it_was_made_with(finished: Path) -> None:
    found = subject.find(str(finished))
    assert (found.directory, found.model.d_model, found.rows, found.seq_len, found.note) == (finished, 16, 4, 8, "")
    assert found.mesh.size == 1


def test_a_config_is_resolved_and_says_what_it_assumed() -> None:
    found = subject.find("configs/pretrain/tiny.py")
    assert (found.model.d_model, found.rows, found.model.dtype) == (128, 16, "bfloat16")
    assert found.note == "a vocabulary of 4096, until a tokenizer is trained"
    assert subject.find("configs/pretrain/tiny.py:smoke", dtype="float32").model.dtype == "float32"


def test_a_preset_stands_for_one_sequence_a_device() -> None:
    found = subject.find("llama3-8b", devices=8)
    assert found.model.vocab_size == presets.get("llama3-8b").vocab_size
    assert (found.mesh.shape["data"], found.rows, found.seq_len, found.trains) == (8, 1, 2048, False)


def test_keys_are_changed_before_anything_follows_from_them() -> None:
    found = subject.find("configs/pretrain/dial.py:2", changes={"model.size": 3, "mesh.fsdp": 2}, devices=4)
    assert found.model.d_model == 3 * 64
    assert (found.mesh.shape["data"], found.mesh.shape["fsdp"]) == (2, 2)
    assert found.rows == found.config.train.batch_size // 4


def test_a_mesh_of_fixed_size_has_the_devices_it_needs() -> None:
    changes = {"mesh.data": 2, "mesh.fsdp": 4, "mesh.tensor": 2}
    assert subject.find("gpt2-124m", changes=changes).mesh.size == 16


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "llama3-8B",
            {},
            "llama3-8B: no such directory, nor a published architecture of lm.model.presets; did you mean llama3-8b",
        ),
        ("xyzzy", {}, "xyzzy: no such directory, nor a published architecture of lm.model.presets; name a run"),
        ("nowhere/gpt2-124m", {}, "nowhere/gpt2-124m: no such directory; `lm pretrain --workdir=nowhere/gpt2-124m`"),
        ("README.md", {}, "README.md: is a file; name a run's directory"),
        ("none.py", {}, "config=none.py: no such file"),
        ("gpt2-124m", {"changes": {"model.layers": 2}}, "config.model.layers: unknown key"),
        ("gpt2-124m", {"changes": {"mesh.fsdp": 3}, "devices": 4}, "mesh: data -1 × fsdp 3 does not fit 4 devices"),
    ],
)
def test_what_is_not_there_is_said(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        subject.find(name, **options)
    assert str(error.value).startswith(message)


def test_runs_of_like_names_are_offered_and_nothing_else(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "mine2", "other"):
        shutil.copytree(finished, tmp_path / "runs" / name, ignore=shutil.ignore_patterns("checkpoints", "shards"))
    monkeypatch.chdir(tmp_path)
    for wrong in ("runs/mien", "run/mine"):
        with pytest.raises(UserError) as error:
            subject.find(wrong)
        assert str(error.value).startswith(f"{wrong}: no such directory; did you mean runs/mine or runs/mine2?")
    monkeypatch.chdir("runs")
    with pytest.raises(UserError, match=r"did you mean mine or mine2\?"):
        subject.find("mien")


def test_a_folder_without_a_run_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "tokenizer", tmp_path / "run")
    with pytest.raises(UserError, match="no run here"):
        subject.find(str(tmp_path / "run"))


def test_a_checkpoint_of_others_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=r"no run of ours; `lm import --from="):
        subject.find(str(tmp_path))
