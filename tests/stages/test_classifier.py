"""`lm classifier`: from labelled lines to a classifier that curation takes, and one line where that cannot be."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lm.cli import main
from lm.data.curate import classify
from lm.data.curate.document import Document, Dropped

LABELS = ("fine", "toxic")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hundred texts, half of them with marks."""
    rng = random.Random(0)
    words = [f"word{i}" for i in range(50)]
    texts = [" ".join(rng.choices(words, k=12) + ["vile", "foul", "mean"] * (i % 2)) for i in range(200)]
    path = tmp_path / "labelled.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text, "label": i % 2, "is": LABELS[i % 2]}) + "\n" for i, text in enumerate(texts))
    )
    return path


def lm(data: Path | str, workdir: Path, *arguments: str) -> int:
    return main(["classifier", f"--config.data={data}", f"--workdir={workdir}", *arguments])


def test_what_it_trains_curation_drops_by(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lm(data, tmp_path / "model") == 0
    out = capsys.readouterr().out
    assert "trained on 160 texts, measured on 40 others, 50 % labelled 1" in out
    assert "at 0.5: precision 1.000, recall 1.000, F1 1.000" in out
    assert f"{tmp_path / 'model' / 'report.html'}: precision and recall by threshold" in out
    assert "<svg" in (tmp_path / "model" / "report.html").read_text()
    section = {**classify.defaults()["toxicity"], "model": str(tmp_path / "model")}
    step = classify.make("toxicity", section, tmp_path)
    assert isinstance(step(Document("a#0", "vile foul mean word1", "s")), Dropped)
    assert isinstance(step(Document("a#1", "word3 word2 word1", "s")), Document)


def test_a_second_time_it_is_finished(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm(data, tmp_path / "model")
    first = capsys.readouterr().out
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()}
    assert lm(data, tmp_path / "model") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'model'}: finished\n{first}"
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()} == before


def test_labels_may_be_words(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lm(data, tmp_path / "words", "--label_key=is", "--positive=toxic") == 0
    words = capsys.readouterr().out
    lm(data, tmp_path / "numbers")
    assert capsys.readouterr().out == words.replace(str(tmp_path / "words"), str(tmp_path / "numbers"))


def test_a_dry_run_counts(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lm(data, tmp_path / "model", "--dry_run=True") == 0
    assert capsys.readouterr().out == (f"{data}: 100 texts labelled 1 and 100 labelled 0, into {tmp_path / 'model'}\n")
    assert not (tmp_path / "model").exists()


def test_without_data_the_generated_corpus_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lm("", tmp_path / "model", "--kind=quality") == 0
    assert "trained on 3,000 texts, measured on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind=rude"], "config.kind=rude: no such classifier; one of toxicity, adult, spam, quality"),
        (["--text_key=body"], "labelled.jsonl:1: no key 'body'"),
        (["--label_key=lable"], "labelled.jsonl:1: no key 'lable'"),
        (["--label_key=is"], "labelled.jsonl:1: 'is' is 'fine', neither 0 nor 1; name what counts as 1 with"),
        (["--positive=toxic"], "labelled.jsonl: 0 different texts labelled 1, too few"),
        (["--data=nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert lm(data, tmp_path / "model", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_another_classifier_is_not_overwritten(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm(data, tmp_path / "model")
    assert lm(data, tmp_path / "model", "--kind=spam") == 2
    assert "changed: config.kind 'toxicity' → 'spam'" in capsys.readouterr().err
