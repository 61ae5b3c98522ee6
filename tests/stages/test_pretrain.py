"""`lm pretrain` from the command line to what stands in the run directory: mixtures, tokenizers, second starts."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm import cli
from lm.common import manifest
from lm.data.shards import Shards, training_examples
from lm.train import run as runs

SEQ_LEN, STEPS, BATCH = 8, 6, 4
SMALL = (
    *("--config.model.n_layers=1", "--config.model.d_model=16", "--config.model.n_heads=2"),
    *(f"--config.model.max_seq_len={SEQ_LEN}", f"--config.train.steps={STEPS}", f"--config.train.batch_size={BATCH}"),
    *("--config.optimizer.peak_lr=1e-3", "--config.sample.max_new_tokens=2"),
)


def pretrain(workdir: Path, *arguments: str, code: int = 0) -> None:
    assert cli.main(["pretrain", *SMALL, *arguments, f"--workdir={workdir}"]) == code


def facts(workdir: Path) -> dict[str, Any]:
    return json.loads((workdir / runs.RUN).read_text())


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_text(path: Path, seed: int, lines: int = 40) -> Path:
    """Lines of random letters, every letter in every text."""
    rng = random.Random(seed)
    path.write_text("\n".join("abcdefgh " + "".join(rng.choices("abcdefgh ", k=30)) for _ in range(lines)))
    return path


def test_a_mixture_draws_each_source_by_its_weight(tmp_path: Path) -> None:
    """From the command line; a quarter of the examples from the longer text, and three from the shorter."""
    wiki, books = write_text(tmp_path / "wiki.txt", 0, lines=80), write_text(tmp_path / "books.txt", 1)
    sources = (
        *(f"--config.data.mixture.wiki.path={wiki}", "--config.data.mixture.wiki.weight=1"),
        *(f"--config.data.mixture.books.path={books}", "--config.data.mixture.books.weight=3"),
    )
    pretrain(tmp_path / "run", *sources, "--config.tokenizer.kind=char")
    assert runs.is_finished(tmp_path / "run")
    config = runs.read_config(tmp_path / "run")
    assert config["data"]["mixture"]["books"] == {"path": str(books), "weight": 3}
    shards = Shards.open(tmp_path / "run" / runs.SHARDS)
    shares = facts(tmp_path / "run")["shares"]
    assert shares == {"wiki": 0.25, "books": 0.75}
    examples = training_examples(shards, "train", seq_len=SEQ_LEN, seed=0, weights=shares)
    drawn = Counter(examples.provenance(index)["source"] for index in range(STEPS * BATCH))
    assert drawn == {"wiki": STEPS * BATCH / 4, "books": 3 * STEPS * BATCH / 4}
    tokens = {source.name: source.n_tokens for source in shards.sources("train")}
    assert facts(tmp_path / "run")["epochs"] == {
        name: pytest.approx(count * SEQ_LEN / tokens[name]) for name, count in drawn.items()
    }


def test_a_mixture_without_weights_keeps_to_its_temperature_and_its_cap(tmp_path: Path) -> None:
    wiki, books = write_text(tmp_path / "wiki.txt", 0, lines=80), write_text(tmp_path / "books.txt", 1, lines=4)
    sources = (f"--config.data.mixture.wiki.path={wiki}", f"--config.data.mixture.books.path={books}")
    options = (
        *sources,
        "--config.tokenizer.kind=char",
        "--config.data.temperature=1e9",
        "--config.data.max_epochs=0.5",
    )
    pretrain(tmp_path / "run", *options)
    run = facts(tmp_path / "run")
    books_tokens = Shards.open(tmp_path / "run" / runs.SHARDS).sources("train")[0].n_tokens
    assert run["shares"]["books"] == pytest.approx(0.5 * books_tokens / (STEPS * BATCH * SEQ_LEN))
    assert run["shares"]["books"] < 0.4  # and not the half that the temperature asks for
    assert run["epochs"]["books"] == pytest.approx(0.5, abs=0.1)
    with_weight = "--config.data.mixture.wiki.weight=1"
    assert cli.main(["pretrain", *SMALL, *sources, with_weight, f"--workdir={tmp_path / 'no'}"]) == 2


def test_a_tokenizer_made_before_is_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It knows characters that the run's text does not have, so it cannot have been learnt from that."""
    text, more = write_text(tmp_path / "text.txt", 0), tmp_path / "more.txt"
    more.write_text(text.read_text() + " xyz" * 30)
    made, run = tmp_path / "made", tmp_path / "run"
    learn = (f"--config.data.path={more}", "--config.tokenizer.kind=char", "--config.data.validation=0")
    assert cli.main(["tokenizer", *learn, f"--workdir={made}"]) == 0
    command = (f"--config.data.path={text}", f"--config.tokenizer.path={made}")
    pretrain(run, *command)
    counts = manifest.read(made, "tokenizer").counts
    assert facts(run)["parameters"][0][1][0] == runs.read_config(run)["model"]["vocab_size"] == counts["vocab_size"]
    assert manifest.fingerprint_stage(run / runs.TOKENIZER) == manifest.fingerprint_stage(made)
    assert manifest.fingerprint_stage(run / runs.SHARDS / "tokenizer") == manifest.fingerprint_stage(made)
    capsys.readouterr()
    pretrain(run, *command)
    assert "finished already" in capsys.readouterr().out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a finished run over it."""
    folder = tmp_path_factory.mktemp("finished")
    write_text(folder / "text.txt", 0)
    pretrain(folder / "run", f"--config.data.path={folder}/text.txt", "--config.tokenizer.kind=char")
    return folder


FREE = ("train.log_every=3", "train.eval_every=2", "train.keep_last=5", "train.wandb=mine", "sample.temperature=0.5")


@pytest.mark.parametrize("change", [*FREE, "data.workers=1", "mesh.data=1"])
def test_a_finished_run_is_finished_however_it_would_be_watched(
    finished: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(finished)
    arguments = (f"--config.data.path={finished}/text.txt", "--config.tokenizer.kind=char", f"--config.{change}")
    pretrain(finished / "run", *arguments)
    assert f"{finished}/run: finished already" in capsys.readouterr().out
    assert content(finished) == before


@pytest.mark.parametrize("change", ["train.clip_norm=0.5", "optimizer.b1=0.8", "model.dropout=0.1", "train.steps=7"])
def test_a_finished_run_refuses_to_be_another(finished: Path, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(finished)
    arguments = (f"--config.data.path={finished}/text.txt", "--config.tokenizer.kind=char", f"--config.{change}")
    pretrain(finished / "run", *arguments, code=2)
    key, _, value = change.partition("=")
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"made with another config \(changed: {re.escape(key)} \S+ → {re.escape(value)}\)", error)
    assert content(finished) == before


def test_shards_remade_from_other_text_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same path, the same config, the same alphabet: only what stands in the shards differs."""
    shards, run = tmp_path / "shards", tmp_path / "run"

    def make(seed: int) -> None:
        shutil.rmtree(shards, ignore_errors=True)
        text = write_text(tmp_path / "text.txt", seed)
        command = ["shard", f"--config.data.path={text}", "--config.tokenizer.kind=char", f"--workdir={shards}"]
        assert cli.main(command) == 0

    make(0)
    pretrain(run, f"--config.data.path={shards}")
    (run / manifest.NAME).unlink()  # as if the run were not finished
    before = content(run)
    make(1)
    capsys.readouterr()
    pretrain(run, f"--config.data.path={shards}", code=2)
    assert "(changed: the shards themselves)" in capsys.readouterr().err
    assert content(run) == before
    make(0)  # the same text again is the same data, though its files have other names
    pretrain(run, f"--config.data.path={shards}")
    assert runs.is_finished(run)


def test_tokens_without_text_have_no_bits_per_byte_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rng.integers(0, 50, 2000, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    pretrain(tmp_path / "run", f"--config.data.path={tmp_path}/tokens.bin", "--config.data.format=nanogpt")
    out, err = capsys.readouterr()
    assert not re.search(r"\b(nan|none|inf)\b", out + err, re.IGNORECASE)
    assert "bits" not in out + err
    assert f"step {STEPS}/{STEPS}  val/loss" in err
    lines = [json.loads(line) for line in (tmp_path / "run" / runs.METRICS).read_text().splitlines()]
    assert lines
    assert all(line["train/bits_per_byte"] is None and line["train/loss"] > 0 for line in lines)


def test_a_run_without_prompts_ends_with_no_samples(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", 0)
    pretrain(
        tmp_path / "run", f"--config.data.path={text}", "--config.tokenizer.kind=char", "--config.sample.prompts=()"
    )
    assert runs.is_finished(tmp_path / "run")
    assert json.loads((tmp_path / "run" / runs.SAMPLES).read_text()) == []
