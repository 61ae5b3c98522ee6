"""`lm inspect` and `lm diff` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lm import cli


def test_inspect_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--devices=2", "--set.mesh.fsdp=2", f"--json={tmp_path / 'x.json'}"]
    assert cli.main(["inspect", "configs/pretrain/tiny.py:smoke", *told]) == 0
    out = capsys.readouterr().out
    assert "vocab × embed/2" in out
    assert "assumed        a vocabulary of 4096, until a tokenizer is trained" in out
    said = json.loads((tmp_path / "x.json").read_text())
    assert f"parameters     {said['n_params']:,}" in out


def test_diff_takes_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "llama3-8b", "llama3.1-8b", f"--json={tmp_path / 'x.json'}"]) == 0
    out = capsys.readouterr().out
    assert "model.rope.scaling" in out
    assert json.loads((tmp_path / "x.json").read_text())["tensors"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect"], "--subject: not given"),
        (["inspect", "gpt2-124"], "did you mean gpt2-124m"),
        (["inspect", "gpt2-124m", "--devices=0"], "--devices=0"),
        (["inspect", "gpt2-124m", "--set.model.layers=3"], "config.model.layers: unknown key"),
        (["diff", "gpt2-124m"], "--a=gpt2-124m --b=: name two"),
        (["diff", "a", "b", "c"], "c: expected --key=value"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
