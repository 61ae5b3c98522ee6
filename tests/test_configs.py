"""Every config file builds, says how it is run, and has a smoke size that resolves to a model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lm.common import config as configs
from lm.common.errors import UserError
from lm.common.manifest import attempt_id
from lm.stages import pretrain
from lm.train import setup

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").rglob("*.py"))


def test_there_are_configs() -> None:
    assert {"shakespeare_char", "tiny", "quickstart"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("arg", ["", "smoke"])
def test_builds_and_resolves(path: Path, arg: str, tmp_path: Path) -> None:
    cfg = configs.load(f"{path}:{arg}")
    configs.check_keys(cfg, pretrain.defaults(), str(path))
    model, _ = setup.resolve(cfg, 512, tmp_path / attempt_id())
    assert cfg.train.steps > 0
    assert cfg.optimizer.peak_lr > 0
    if arg == "smoke":
        assert cfg.train.steps <= 20
        assert model.d_model <= 64


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_unknown_argument_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="smok"):
        configs.load(f"{path}:smok")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_holds_the_command(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^lm (pretrain --config=configs/\S+|quickstart) ", text, re.MULTILINE)
    assert f"{path.stem}" in text
