"""`lm import`: a checkpoint becomes a run that everything else works on, or one line says what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import lm
from lm import cli
from lm.convert import hf
from lm.data import tokenizer as tokenizers
from lm.data.tokenizer import imported
from lm.model import cost
from lm.model.config import ModelConfig
from lm.train import run as runs

TEXT = "".join(f"The kite number {n} is red, and the {n % 7} boats are blue.\n" for n in range(400))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen 3 of random weights in bfloat16, its vocabulary padded, with a tokenizer and a chat template."""
    root = tmp_path_factory.mktemp("theirs")
    config = {**tokenizers.defaults(), "vocab_size": 300}
    tokenizer = tokenizers.train(config, [TEXT], root / "tokenizer", inputs={})
    shape = {"n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "d_model": 16, "d_ff": 24, "head_width": 8}
    cfg = ModelConfig(vocab_size=tokenizer.vocab_size + 4, max_seq_len=48, qk_norm="head", **shape)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), cost.parameter_shapes(cfg))
    hf.write(cfg, params, root / "hf", tokenizer=root / "tokenizer", bos=True, dtype="bfloat16")
    (root / "hf" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return root / "hf"


@pytest.fixture(scope="module")
def run(theirs: Path) -> Path:
    """The run that is made of it."""
    assert cli.main(["import", f"--from={theirs}", f"--workdir={theirs.parent / 'run'}"]) == 0
    return theirs.parent / "run"


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns the one line that a command fails with."""
    assert cli.main(list(arguments)) == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    return message


def test_the_model_is_loaded_as_it_was_stored(theirs: Path, run: Path) -> None:
    model, found = lm.load(run), hf.read(theirs)
    assert model.config == found.config
    assert (model.step, model.bos) == (0, True)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, model.params, found.params)))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(model.params))


def test_the_tokenizer_is_theirs_with_its_template(theirs: Path, run: Path) -> None:
    tokenizer = lm.load(run).tokenizer
    ours = tokenizers.load(theirs.parent / "tokenizer")
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.lossless) == ("imported", 300, True)
    assert tokenizer.encode("<bos> The kite") == ours.encode("<bos> The kite")
    assert np.array_equal(tokenizer.token_bytes(), ours.token_bytes())
    assert imported.chat_template(run / runs.TOKENIZER) == "{{ messages[0].content }}"


def test_every_stage_that_reads_runs_works_on_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    for command in (
        ("sample", f"--run={run}", "--prompt=The kite", "--max_new_tokens=5", "--temperature=0"),
        ("eval", f"--run={run}", f"--text={tmp_path / 'text.txt'}", "--max_tokens=500"),
        ("report", f"--run={run}"),
        ("verify", f"--dir={run}"),
    ):
        assert cli.main(list(command)) == 0, command
    out = capsys.readouterr().out
    assert f"{run}: imported from a qwen3 checkpoint" in out
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "from a qwen3 checkpoint" in page
    assert "val/bits_per_byte" in out


def test_what_cannot_be_had_of_it_is_said_in_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give --text=FILE" in fails(capsys, "eval", f"--run={run}")
    assert "batches are not known" in fails(capsys, "trace", f"--run={run}", "--step=1")
    before = sorted(path for path in run.rglob("*"))
    assert "choose another --workdir" in fails(capsys, "pretrain", "--model.size=1", f"--workdir={run}")
    assert sorted(path for path in run.rglob("*")) == before


def test_the_same_command_does_nothing_and_another_is_refused(
    theirs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamp = (run / "manifest.json").stat().st_mtime_ns
    assert cli.main(["import", f"--from={theirs}", f"--workdir={run}"]) == 0
    assert (run / "manifest.json").stat().st_mtime_ns == stamp
    said = fails(capsys, "import", f"--from={theirs}", f"--workdir={run}", "--max_seq_len=16")
    assert "config.max_seq_len None → 16" in said


def test_a_shorter_context_is_kept(theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["import", f"--from={theirs}", f"--workdir={tmp_path / 'run'}"]
    assert "--max_seq_len=49: this model's context is 48" in fails(capsys, *arguments, "--max_seq_len=49")
    assert cli.main([*arguments, "--max_seq_len=16"]) == 0
    assert lm.load(tmp_path / "run").config.max_seq_len == 16


def test_a_dry_run_writes_nothing(theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", f"--from={theirs}", f"--workdir={tmp_path / 'run'}", "--dry_run=True"]) == 0
    assert "qwen3" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def _set(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


MISTAKES = {
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "no model.safetensors"),
    "cut weights": (lambda d: (d / "model.safetensors").write_bytes(b"\x10" * 64), "truncated"),
    "no tokenizer": (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
    "a tokenizer that is none": (lambda d: (d / "tokenizer.json").write_text("{}"), "not a tokenizer"),
    "a larger tokenizer": (lambda d: _set(d / "config.json", vocab_size=200), "beyond the model's vocabulary of 200"),
    "a family nobody knows": (lambda d: _set(d / "config.json", model_type="x"), "model_type=x: no such family"),
    "another size": (lambda d: _set(d / "config.json", hidden_size=32), "mis-shaped model.embed_tokens.weight"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    theirs: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, said = MISTAKES[name]
    copy = shutil.copytree(theirs, tmp_path / "copy")
    spoil(copy)
    assert said in fails(capsys, "import", f"--from={copy}", f"--workdir={tmp_path / 'run'}")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_is_not_given_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from: not given" in fails(capsys, "import", f"--workdir={tmp_path / 'run'}")
    assert "--workdir: not given" in fails(capsys, "import", "--from=x")


def test_what_is_no_checkpoint_is_told_what_to_do_instead(
    theirs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ggufs").mkdir()
    (tmp_path / "ggufs" / "model-q8.gguf").touch()
    for given, said in {
        "org/name": "no such directory, and nothing is downloaded; get a model of a hub first",
        "hf://org/name": "no such directory, and nothing is downloaded",
        "gs://bucket/theirs": "only --workdir and --run may be in a bucket",
        "nowhere/model.gguf": "GGUF is written, not read; download the checkpoint that it was made of",
        str(tmp_path / "ggufs"): "GGUF is written, not read",
        str(theirs / "model.safetensors"): f"is a file; name the directory with the whole checkpoint, {theirs}",
        str(run): f"a run of ours already; use it as it is, such as `lm sample --run={run}`",
    }.items():
        message = fails(capsys, "import", f"--from={given}", f"--workdir={tmp_path / 'run'}")
        assert f"--from={given}: {said}" in message
    assert not (tmp_path / "run").exists()
