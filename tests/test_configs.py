"""Every config file builds, says how it is run, and has a smoke size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lm.common import config as configs
from lm.common.errors import UserError
from lm.common.manifest import attempt_id
from lm.data.curate import recipe
from lm.stages import curate, pretrain
from lm.train import setup

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").rglob("*.py"))
PRETRAIN, CURATE = (sorted((ROOT / "configs" / stage).glob("*.py")) for stage in ("pretrain", "curate"))


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_there_are_configs() -> None:
    assert {"shakespeare_char", "tiny", "quickstart"} <= {path.stem for path in PRETRAIN}
    assert {"web", "text"} <= {path.stem for path in CURATE}
    assert sorted([*PRETRAIN, *CURATE]) == FILES, "a stage whose configs no test builds"


@pytest.mark.parametrize("path", PRETRAIN, ids=name)
@pytest.mark.parametrize("arg", ["", "smoke"])
def test_builds_and_resolves_to_a_model(path: Path, arg: str, tmp_path: Path) -> None:
    cfg = configs.load(f"{path}:{arg}")
    configs.check_keys(cfg, pretrain.defaults(), str(path))
    model, _ = setup.resolve(cfg, 512, tmp_path / attempt_id())
    assert cfg.train.steps > 0
    assert cfg.optimizer.peak_lr > 0
    if arg == "smoke":
        assert cfg.train.steps <= 20
        assert model.d_model <= 64


@pytest.mark.parametrize("path", CURATE, ids=name)
@pytest.mark.parametrize("arg", ["", "smoke"])
def test_builds_a_curation(path: Path, arg: str, tmp_path: Path) -> None:
    cfg = configs.load(f"{path}:{arg}")
    configs.check_keys(cfg, curate.defaults(), str(path))
    cfg.input = str(tmp_path)
    recipe.check(cfg)
    assert "dedup" in cfg.steps
    if arg == "smoke":
        assert cfg.sample.documents <= 50


@pytest.mark.parametrize("domain", ["web", "code", "dialogue", "books", "math"])
def test_every_domain_has_its_steps(domain: str) -> None:
    assert configs.load(f"{ROOT / 'configs' / 'curate' / 'text.py'}:{domain}").steps == recipe.chain(domain)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_an_unknown_argument_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="smok"):
        configs.load(f"{path}:smok")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_docstring_holds_the_command(path: Path) -> None:
    text = path.read_text()
    assert re.search(rf"^lm ({path.parent.name} --config=configs/\S+|quickstart) ", text, re.MULTILINE)
    assert f"{path.stem}" in text
