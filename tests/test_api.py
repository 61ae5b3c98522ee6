"""`lm.load`: logits as the model gives them, text in and text out, and nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lm as package
from lm.common.errors import UserError

Lm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on the generated world, made in this process."""
    from lm.common import config as configs
    from lm.stages import pretrain

    folder = tmp_path_factory.mktemp("api")
    cfg = configs.load(str(Path(__file__).parent.parent / "configs/pretrain/tiny.py:smoke"))
    cfg.data.path = "builtin:world?n=400"
    cfg.tokenizer.vocab_size = 320
    cfg.train.checkpoint_every = 10
    pretrain.run(cfg, folder / "run")
    return folder / "run"


def test_logits(run: Path) -> None:
    model = package.load(run)
    tokens_BT = np.array([model.tokenizer.encode("The kite is red. Where is it?")[:8]] * 2)
    logits_BTV = model.logits(tokens_BT)
    assert logits_BTV.shape == (2, 8, model.config.vocab_size)
    assert logits_BTV.dtype == np.float32
    assert model.step == 20
    np.testing.assert_array_equal(logits_BTV[0], logits_BTV[1])


def test_a_checkpoint_can_be_chosen(run: Path) -> None:
    early, late = package.load(run, step=10), package.load(run)
    assert (early.step, late.step) == (10, 20)
    tokens_BT = np.array([[5, 6, 7]])
    assert np.abs(early.logits(tokens_BT) - late.logits(tokens_BT)).max() > 0


def test_generate_takes_one_prompt_or_several(run: Path) -> None:
    model = package.load(run)
    options = {"max_new_tokens": 6, "temperature": 0.0}
    one = model.generate("The kite", **options)
    assert isinstance(one, str)
    assert model.generate(["The kite", "A red"], **options)[0] == one


def test_stream_is_generate_piece_by_piece(run: Path) -> None:
    from lm.infer.sampling import Sampling

    model = package.load(run)
    pieces = list(model.stream("The kite", max_new_tokens=12, sampling=Sampling(), seed=4))
    assert "".join(pieces) == model.generate("The kite", max_new_tokens=12, seed=4)


@pytest.mark.parametrize(("where", "message"), [("nothing", "no such directory"), ("run", "step 7")])
def test_refusals(run: Path, where: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        package.load(run.parent / where, step=7)


def test_prompts_from_standard_input(run: Path, lm: Lm) -> None:
    """Each line is continued; what is printed begins with the prompt."""
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "lm.cli", "sample", f"--run={run}", "--max_new_tokens=3"],
        input="The kite\nA red\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("The kite")
    assert "\nA red" in done.stdout
    assert "--run" in lm("sample", code=2).stderr
