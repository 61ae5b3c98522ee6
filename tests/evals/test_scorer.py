"""A run as a judge of texts: the bits per byte that `Perplexity` finds, for one text at a time."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from lm.common import config as configs
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.readers import Document
from lm.data.shards import Shards, write_shards
from lm.evals import scorer
from lm.evals.perplexity import Perplexity
from lm.evals.scorer import BitsPerByte
from lm.model.config import ModelConfig
from lm.stages import pretrain
from lm.train import run as runs

LIKE = "Nomo has three red kites. How many kites does Nomo have? Three."
TEXTS = [LIKE, LIKE * 3, f"{LIKE} é中𝄞\n" * 40, "a"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps on the generated world, made in this process."""
    folder = tmp_path_factory.mktemp("scorer")
    cfg = configs.load(str(Path(__file__).parents[2] / "configs/pretrain/tiny.py:smoke"))
    cfg.data.path = "builtin:world?n=400"
    cfg.tokenizer.vocab_size = 320
    cfg.optimizer.name, cfg.model.n_layers, cfg.model.scan_layers = "adamw", 1, True  # quick to compile
    cfg.model.max_seq_len = 48
    pretrain.run(cfg, folder / "run")
    return folder / "run"


@pytest.mark.parametrize("text", TEXTS, ids=["short", "longer", "many windows", "one letter"])
def test_it_is_what_perplexity_finds(run: Path, tmp_path: Path, text: str) -> None:
    config = runs.read_config(run)
    splits = {"val": {"text": [Document("0", text, "text")]}}
    options = {"bos": config["data"]["bos"], "eos": config["data"]["eos"]}
    write_shards(splits, run / runs.TOKENIZER, tmp_path, config={}, inputs={}, workers=1, **options)
    with Checkpoints(run / runs.CHECKPOINTS) as checkpoints:
        _, params, _ = checkpoints.restore_params()
    token_bytes = tokenizers.load(run / runs.TOKENIZER).token_bytes()
    model = ModelConfig.from_dict(config["model"])
    whole = Perplexity(model, Shards.open(tmp_path), token_bytes, split="val", batch_size=3, max_tokens=0)
    assert BitsPerByte(str(run))(text) == pytest.approx(whole(params)["val/bits_per_byte"], rel=1e-4)


def test_text_like_that_of_training_costs_less_than_noise(run: Path) -> None:
    rng = np.random.default_rng(0)
    noise = "".join(map(chr, rng.integers(33, 127, len(LIKE))))
    score = BitsPerByte(str(run))
    assert 0 < score(LIKE) < score(noise) - 1


def test_what_has_nothing_to_predict_costs_its_bytes(run: Path) -> None:
    assert BitsPerByte(str(run))("") == 8


def test_a_long_text_is_read_up_to_its_limit(run: Path) -> None:
    """Though that cuts a character in two."""
    text = "a" + "é" * scorer.MOST_BYTES
    cut = text[: 1 + (scorer.MOST_BYTES - 1) // 2]
    assert len(cut.encode()) == scorer.MOST_BYTES - 1
    assert BitsPerByte(str(run))(text) == BitsPerByte(str(run))(cut)


@pytest.mark.parametrize("n", [0, 1, 2, 31, 33, 34, 64, 65, 300, 1025])
def test_every_token_but_the_first_is_predicted_once(n: int) -> None:
    tokens, predicted, shapes = np.arange(5, 5 + n, dtype=np.int32), [], set()
    for batch in scorer.batches(tokens, seq_len=48):
        counted = batch["loss_mask"] > 0
        assert (batch["tokens"][counted] + 1 == batch["targets"][counted]).all()
        assert (batch["positions"] == np.arange(batch["tokens"].shape[1]) * counted).all()
        assert (batch["segments"] == counted).all()
        assert not batch["tokens"][~counted].any()
        predicted += batch["targets"][counted].tolist()
        shapes.add(batch["tokens"].shape)
    assert predicted == tokens[1:].tolist()
    assert shapes <= {(rows, length) for rows in (1, 2, 4, 8) for length in (32, 48)}


def test_it_travels_as_a_name(run: Path) -> None:
    score = BitsPerByte(str(run))
    value = score(LIKE)
    sent = pickle.dumps(score)
    assert len(sent) < 300
    assert pickle.loads(sent)(LIKE) == value


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run here"):
        BitsPerByte(str(tmp_path))("text")
