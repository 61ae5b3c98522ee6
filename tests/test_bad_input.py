"""What users get wrong: one line that names it, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lm import cli

ROOT = Path(__file__).parent.parent
Lm = Callable[..., subprocess.CompletedProcess[str]]
SMOKE = "--config=configs/pretrain/tiny.py:smoke"


@pytest.fixture
def lm(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lm:
    """Runs the command line in this process: most is refused in less time than another takes to start."""

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(ROOT)
        capfd.readouterr()
        found = cli.main(arguments)
        done = subprocess.CompletedProcess(arguments, found, *capfd.readouterr())
        assert found == code, f"exit code {found}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    return call


def refused(lm: Lm, *arguments: str) -> str:
    """Runs a command that must be refused, and returns its one line."""
    done = lm(*arguments, code=2)
    errors = [line for line in done.stderr.splitlines() if line.startswith(f"lm {arguments[0]}: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


def leftovers(folder: Path) -> list[str]:
    """Files under a folder that a finished stage's manifest does not list."""
    listed: set[Path] = set()
    for path in folder.rglob("manifest.json"):
        listed.add(path)
        listed |= {path.parent / entry["name"] for entry in json.loads(path.read_text())["files"]}
    return [str(path) for path in folder.rglob("*") if path.is_file() and path not in listed]


def test_missing_path(lm: Lm, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    line = refused(lm, "pretrain", SMOKE, f"--config.data.path={tmp_path}/nothing.txt", f"--workdir={workdir}")
    assert f"{tmp_path}/nothing.txt" in line
    assert not workdir.exists()


def test_empty_file(lm: Lm, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    line = refused(lm, "pretrain", SMOKE, f"--config.data.path={tmp_path}/empty.txt", f"--workdir={tmp_path}/run")
    assert "empty.txt" in line
    assert "empty" in line.removeprefix(str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_binary_file(lm: Lm, tmp_path: Path) -> None:
    (tmp_path / "photo.txt").write_bytes(b"\x89PNG\r\n\x00\xff\xd8" * 100)
    line = refused(lm, "pretrain", SMOKE, f"--config.data.path={tmp_path}/photo.txt", f"--workdir={tmp_path}/run")
    assert "photo.txt" in line
    assert "byte" in line
    assert not leftovers(tmp_path / "run")


def test_vocabulary_larger_than_the_text_supports(lm: Lm, text_file: Path, tmp_path: Path) -> None:
    arguments = (f"--config.data.path={text_file}", "--config.tokenizer.vocab_size=50000")
    line = refused(lm, "pretrain", SMOKE, *arguments, f"--workdir={tmp_path}/run")
    assert "tokenizer.vocab_size=50000" in line
    assert not leftovers(tmp_path / "run")


def test_sequence_longer_than_the_corpus(lm: Lm, text_file: Path, tmp_path: Path) -> None:
    arguments = (f"--config.data.path={text_file}", "--config.model.max_seq_len=100000")
    line = refused(lm, "pretrain", SMOKE, *arguments, f"--workdir={tmp_path}/run")
    assert "100000" in line
    assert not leftovers(tmp_path / "run")


def test_unknown_key_names_the_nearest(lm: Lm, tmp_path: Path) -> None:
    line = refused(lm, "pretrain", SMOKE, "--config.model.n_layer=3", f"--workdir={tmp_path}/run")
    assert "model.n_layer" in line
    assert "model.n_layers" in line
    assert not (tmp_path / "run").exists()


def test_wrong_type(lm: Lm, tmp_path: Path) -> None:
    line = refused(lm, "pretrain", SMOKE, "--config.train.steps=many", f"--workdir={tmp_path}/run")
    assert "train.steps=many" in line
    assert "int" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mesh.tensor", "3"),
        ("mesh.context", "2"),
        ("schedule.name", "linear"),
        ("optimizer.name", "sgd"),
        ("model.n_kv_heads", "5"),
        ("train.microbatches", "7"),
        ("train.ramp.batch_size", "3"),
        ("tokenizer.kind", "words"),
        ("data.validation", "1.5"),
        ("train.steps", "0"),
    ],
)
def test_values_that_cannot_be(lm: Lm, text_file: Path, tmp_path: Path, key: str, value: str) -> None:
    arguments = (f"--config.data.path={text_file}", "--config.tokenizer.vocab_size=300", f"--config.{key}={value}")
    line = refused(lm, "pretrain", SMOKE, *arguments, f"--workdir={tmp_path}/run")
    assert key.rsplit(".", 1)[-1] in line
    assert value in line
    assert not leftovers(tmp_path / "run")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, trained to its end."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text("the cat sat on the mat and the dog ran after the cat\n" * 600)
    command = [
        *(sys.executable, "-m", "lm.cli", "pretrain", SMOKE, f"--config.data.path={folder}/text.txt"),
        *(f"--workdir={folder}/run", "--config.tokenizer.kind=char", "--config.sample.max_new_tokens=2"),
        "--config.train.checkpoint_every=10",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def again(folder: Path, *arguments: str) -> list[str]:
    return [
        *("pretrain", SMOKE, f"--config.data.path={folder}/text.txt", f"--workdir={folder}/run"),
        *("--config.tokenizer.kind=char", "--config.sample.max_new_tokens=2"),
        *("--config.train.checkpoint_every=10", *arguments),
    ]


@pytest.mark.parametrize(("key", "value"), [("model.n_layers", "3"), ("tokenizer.reserved", "3"), ("train.seed", "1")])
def test_a_workdir_made_with_another_config(lm: Lm, finished_run: Path, key: str, value: str) -> None:
    before = {path: path.read_bytes() for path in (finished_run / "run").rglob("*") if path.is_file()}
    line = refused(lm, *again(finished_run, f"--config.{key}={value}"))
    assert key.rsplit(".", 1)[-1] in line
    assert value in line
    assert "--workdir" in line
    assert {path: path.read_bytes() for path in (finished_run / "run").rglob("*") if path.is_file()} == before


def test_a_checkpoint_with_one_flipped_bit(lm: Lm, finished_run: Path, tmp_path: Path) -> None:
    """Verification finds it, and resuming refuses it by name; asked to, it falls back to the one before."""
    folder = tmp_path / "copy"
    shutil.copytree(finished_run, folder)
    data = max((folder / "run" / "checkpoints" / "20").rglob("d/*"), key=lambda path: path.stat().st_size)
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 4
    data.write_bytes(raw)
    assert "checkpoints/20" in refused(lm, "verify", f"--dir={folder}/run")
    (folder / "run" / "manifest.json").unlink()  # as if the run were not finished
    command = again(finished_run, f"--workdir={folder}/run")
    line = refused(lm, *command)
    assert "checkpoints/20" in line
    assert "--config.train.restore_fallback=True" in line
    assert "resuming at step 10" in lm(*command, "--config.train.restore_fallback=True").stderr


def test_an_altered_shard_is_found_by_verify(lm: Lm, finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run, folder)
    shard = next((folder / "run" / "shards").glob("train-*[0-9a-f].bin"))
    raw = bytearray(shard.read_bytes())
    raw[10] ^= 1
    shard.write_bytes(raw)
    assert shard.name in refused(lm, "verify", f"--dir={folder}/run")


def test_a_truncated_shard_is_named_before_training(lm: Lm, finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run, folder)
    shard = next((folder / "run" / "shards").glob("train-*[0-9a-f].bin"))
    os.truncate(shard, shard.stat().st_size - 2)
    fresh = folder / "fresh"
    line = refused(lm, "pretrain", SMOKE, f"--config.data.path={folder}/run/shards", f"--workdir={fresh}")
    assert shard.name in line
    assert not fresh.exists()


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from lm.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "limit", [*(pytest.param(limit, marks=pytest.mark.slow) for limit in (2_000, 20_000)), 100_000]
)
def test_a_full_disk(text_file: Path, tmp_path: Path, limit: int) -> None:
    """No file may grow past a limit, which stops the tokenizer, the shards or the first checkpoint; then there is room.

    Whatever was being written, the message is one line, no stage looks finished that is not, and the same command
    goes on once the limit is gone.
    """
    command = [
        *("pretrain", SMOKE, f"--config.data.path={text_file}", f"--workdir={tmp_path}/run"),
        *("--config.tokenizer.vocab_size=300", "--config.sample.max_new_tokens=2"),
    ]
    options = {"capture_output": True, "text": True, "cwd": Path(__file__).parent.parent}
    done = subprocess.run([sys.executable, "-c", LIMITED, str(limit), *command], check=False, **options)
    assert done.returncode == 2, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("lm pretrain: ")], done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "manifest.json").exists()
    done = subprocess.run([sys.executable, "-m", "lm.cli", *command], check=False, **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "manifest.json").exists()
