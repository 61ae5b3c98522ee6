"""What `lm pretrain --dry_run=True` says of a run before any of it is done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from lm.data import prepare
from lm.stages import pretrain


def config(text: Path, **train: Any) -> ConfigDict:
    cfg = pretrain.defaults()
    cfg.dry_run = True
    cfg.data.path, cfg.data.validation, cfg.data.bos, cfg.data.eos = str(text), 0.2, False, False
    cfg.tokenizer.kind = "char"
    cfg.model.size, cfg.model.max_seq_len = 1, 16
    cfg.train.update(train)
    return cfg


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text of 5,000 characters, 4,000 of them to train on."""
    path = tmp_path / "text.txt"
    path.write_text("To be, or not to be: that is the question. Whether\n"[:50] * 100)
    return path


def dry_run(cfg: ConfigDict, capsys: pytest.CaptureFixture[str]) -> str:
    workdir = Path(cfg.data.path).with_name("run")
    pretrain.run(cfg, workdir)
    assert not workdir.exists()
    return capsys.readouterr().out


def test_small_text_has_a_size_and_epochs(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """100 steps of 4 sequences of 16 tokens, of a byte each, are 1.6 times 4,000 bytes."""
    printed = dry_run(config(text, steps=100, batch_size=4), capsys)
    assert "1 file, 5 kB" in printed
    assert "about 1.6 epochs of text, if files are plain text of 1.0 bytes a token" in printed
    assert "warning" not in printed


def test_too_many_epochs_are_warned_of(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = dry_run(config(text, steps=2500, batch_size=4), capsys)
    assert "about 40 epochs of text" in printed
    assert "warning: 40 epochs of text: the model will learn this text by heart" in printed
    assert "train.steps=1250 is 20 epochs" in printed


def test_epochs_of_shards_are_known(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = config(text, steps=100, batch_size=4)
    splits = prepare.Splits(cfg.data)
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, tmp_path / "tokenizer")
    cfg.data.path = str(prepare.prepare_shards(cfg.data, splits, tokenizer, tmp_path / "shards").directory)
    printed = dry_run(cfg, capsys)
    assert "\n1.6 epochs of text\n" in printed
    assert "about" not in printed


def test_text_of_unknown_size_has_no_epochs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cfg = config(tmp_path / "text.txt", steps=100, batch_size=4)
    cfg.data.path = "builtin:world?n=50"
    pretrain.run(cfg, tmp_path / "run")
    assert "epochs" not in capsys.readouterr().out


def test_two_counts_of_computation_say_what_they_count(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = dry_run(config(text), capsys)
    laws = set(re.findall(r"C = (\S+) FLOPs outside the vocabulary", printed))
    (whole,) = re.findall(r"(\S+) FLOPs with the vocabulary's", printed)
    assert len(laws) == 1
    assert float(laws.pop()) < float(whole)
    assert printed.count("FLOPs") == 3
