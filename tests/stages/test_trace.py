"""`lm trace`: from the rows of a training batch to the records that `lm curate` kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lm import cli
from lm.data.curate import ledger
from lm.data.curate.output import files_of
from lm.train import run as runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Curated text of twelve documents in two files, and a small run on it."""
    root = tmp_path_factory.mktemp("trace")
    (root / "raw").mkdir()
    for name in ("a", "b"):
        records = [
            {"id": f"{name}{n}", "text": f"{name} says {n} and " + "cat sat on mat " * (n + 3)} for n in range(6)
        ]
        (root / "raw" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    curated = ["curate", f"--config.input={root / 'raw'}", f"--config.output={root / 'curated'}"]
    assert (
        cli.main([*curated, '--config.steps=("repair","dedup")', "--config.dedup.preset=", "--config.dedup.rows=0"])
        == 0
    )
    small = ("--config.model.n_layers=1", "--config.model.d_model=16", "--config.model.n_heads=2")
    sizes = ("--config.model.max_seq_len=16", "--config.train.steps=3", "--config.train.batch_size=4")
    data = (f"--config.data.path={root / 'curated'}", "--config.tokenizer.kind=char", "--config.optimizer.peak_lr=1e-3")
    rest = ("--config.sample.max_new_tokens=2", f"--workdir={root / 'run'}")
    assert cli.main(["pretrain", *small, *sizes, *data, *rest]) == 0
    return root


def test_every_row_leads_to_records_of_the_input(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", str(made / "run"), "--step=2", "--characters=1000"]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("step")] == [
        f"step 2 row {row}" for row in range(4)
    ]
    records = {record["id"]: record for path in files_of(made / "curated") for record in ledger.read(path)}
    named = [line.strip() for line in out.splitlines() if line.startswith("  ") and "#" in line]
    assert named
    for id in named:
        assert f"    record: {records[id]['meta']['record']}" in out
        assert f"    text: {' '.join(records[id]['text'].split())}" in out
        name, number = id.rsplit("#", 1)
        assert (
            json.loads((made / "raw" / name).read_text().splitlines()[int(number)])["id"]
            == records[id]["meta"]["record"]
        )


def test_one_row_alone_is_that_row_of_all(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", str(made / "run"), "--step=1"]) == 0
    everything = capsys.readouterr().out
    assert cli.main(["trace", f"--run={made / 'run'}", "--step=1", "--row=2"]) == 0
    rules, row = capsys.readouterr().out.split("\n", 1)
    assert rules == "text: kept by repair, dedup"
    assert row.startswith("step 1 row 2")
    assert row in everything


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--step=None: give a step of the run, from 1 to 3"),
        (("--step=4",), "--step=4"),
        (("--step=1", "--row=4"), "--row=4: the batch of step 1 has rows 0 to 3"),
    ],
)
def test_what_is_not_there_is_named(
    made: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trace", str(made / "run"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_text_that_has_moved_is_said_to_have(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    path = tmp_path / "run" / runs.SHARDS / "manifest.json"
    path.write_text(path.read_text().replace(str(made / "curated"), str(tmp_path / "gone")))
    assert cli.main(["trace", str(tmp_path / "run"), "--step=1"]) == 0
    assert "is not to be found from here" in capsys.readouterr().out
