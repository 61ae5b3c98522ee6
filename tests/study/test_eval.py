"""`lm eval` on a run: what it scores and keeps, what it refuses, and what the report then shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.data.tokenizer import ids
from lm.stages import eval as stage
from lm.train import run as runs

EditJson = Callable[[Path, Callable[[Any], Any]], None]


def config(run: Path, **values: Any) -> ConfigDict:
    cfg = stage.defaults()
    cfg.update({"run": str(run), "batch_size": 4, **values})
    return cfg


def evaluation(run: Path) -> dict[str, Any]:
    return json.loads((run / runs.EVALUATION).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("key", "value", "least"), [("batch_size", 0, 1), ("questions", 0, 1), ("max_tokens", -1, 0)])
def test_ranges(finished: Path, key: str, value: int, least: int) -> None:
    with pytest.raises(UserError, match=rf"--{key}={value}: must be at least {least}"):
        stage.run(config(finished, **{key: value}), None)


def test_a_run_has_to_be_named() -> None:
    with pytest.raises(UserError, match="--run: not given"):
        stage.run(stage.defaults(), None)


@pytest.mark.parametrize("content", [b'{"step": ', b"[]", b"\xff"])
def test_a_damaged_evaluation_is_one_line(run: Path, content: bytes) -> None:
    (run / runs.EVALUATION).write_bytes(content)
    with pytest.raises(UserError, match=r"eval\.json: .*; remove the file") as refused:
        stage.run(config(run), None)
    assert "\n" not in str(refused.value)
    assert (run / runs.EVALUATION).read_bytes() == content


def test_a_dry_run_checks_all_and_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / runs.EVALUATION).read_bytes()
    stage.run(config(run, dry_run=True, world=True, questions=12, max_tokens=50), None)
    tokens = json.loads((run / runs.SHARDS / "manifest.json").read_text())["counts"]["splits"]["val"]["text"]["tokens"]
    printed = capsys.readouterr().out
    assert f"step 40 of {run} would be scored on {tokens} validation tokens (at most 50 tokens) and 12 qu" in printed
    assert (run / runs.EVALUATION).read_bytes() == before
    with pytest.raises(UserError, match=r"nothing\.txt"):
        stage.run(config(run, dry_run=True, text=str(run / "nothing.txt")), None)
    with pytest.raises(UserError, match="no checkpoint of step 7"):
        stage.run(config(run, dry_run=True, step=7), None)


def test_own_split_and_text_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    """Text is read as the data section would; figures of the same step are kept."""
    text = "to be, or not to be: that is the question"
    (tmp_path / "more.jsonl").write_text(json.dumps({"body": text}) + "\n")
    stage.run(config(run), None)
    own = evaluation(run)
    assert own["step"] == 40
    assert own["perplexity"]["val/bits_per_byte"] > 0
    assert "questions" in own
    with pytest.raises(UserError, match="body"):  # the keys that there are
        stage.run(config(run, text=str(tmp_path / "more.jsonl")), None)
    stage.run(config(run, text=str(tmp_path / "more.jsonl"), text_key="body"), None)
    scored = evaluation(run)
    assert scored["perplexity"] == own["perplexity"]
    assert scored["text"]["path"] == str(tmp_path / "more.jsonl")


def test_bos_and_eos_are_as_in_training(run: Path, tmp_path: Path, edit_json: EditJson) -> None:
    """A text of one character has two predictions between control tokens, and none without them."""
    (tmp_path / "one.txt").write_text("a")
    stage.run(config(run, text=str(tmp_path / "one.txt")), None)
    edit_json(run / runs.CONFIG, lambda made: {**made, "data": {**made["data"], "bos": False, "eos": False}})
    with pytest.raises(UserError, match="1 tokens in 1 documents"):
        stage.run(config(run, text=str(tmp_path / "one.txt")), None)
    (tmp_path / "two.txt").write_text("a<|cut|>b")
    with pytest.raises(UserError, match="2 tokens in 2 documents"):
        stage.run(config(run, text=str(tmp_path / "two.txt"), separator="<|cut|>"), None)


def test_shards_elsewhere_are_found_by_the_recorded_path(run: Path, tmp_path: Path, edit_json: EditJson) -> None:
    stage.run(config(run), None)
    own = evaluation(run)["perplexity"]
    (run / runs.SHARDS).rename(tmp_path / "elsewhere")
    path = str(tmp_path / "elsewhere")
    edit_json(run / runs.CONFIG, lambda made: {**made, "data": {**made["data"], "path": path}})
    edit_json(run / runs.EVALUATION, lambda _: {})
    stage.run(config(run), None)
    assert evaluation(run)["perplexity"] == own


def test_figures_that_cannot_be_known_are_null(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with token files, whose tokens stand for no text that is known."""
    vocab_size = runs.read_config(run)["model"]["vocab_size"]
    shutil.rmtree(run / runs.TOKENIZER)
    ids.write(run / runs.TOKENIZER, n_ids=vocab_size - 4, end_id=None, inputs={})
    stage.run(config(run), None)
    assert evaluation(run)["perplexity"]["val/bits_per_byte"] is None
    assert "nan" not in capsys.readouterr().out
