"""`lm curate` from end to end: the same bytes however the work is done, sums that agree, errors of one line."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lm import cli
from lm.data.curate import claim, ledger
from lm.data.curate.output import DOCUMENTS, DROPPED, QUARANTINED, files_of
from lm.data.curate.read import Options, list_files, read

FOLDERS = (DOCUMENTS, DROPPED, QUARANTINED)


@pytest.fixture(scope="module")
def made(curation: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curation by one process."""
    output = tmp_path_factory.mktemp("made") / "out"
    assert cli.main(curation.arguments(output)) == 0
    return output


def error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Returns the one line that a command fails with, beside its progress."""
    capsys.readouterr()
    assert cli.main(arguments) == 2
    *progress, line = capsys.readouterr().err.splitlines()
    assert all(shown.startswith(("prepare ", "finish ")) for shown in progress), progress
    return line


def records(output: Path, folder: str) -> list[dict[str, Any]]:
    return [record for path in files_of(output, folder) for record in ledger.read(path)]


@pytest.mark.parametrize(
    "extra",
    [
        ("--config.workers=2",),
        ("--config.workers=4",),
        ("--config.workers=2", "--config.dedup.backend=datatrove"),
        pytest.param(("--config.workers=2", "--config.executor=ray"), marks=pytest.mark.slow),
    ],
    ids=["two workers", "four workers", "datatrove's stages", "ray"],
)
def test_the_same_bytes_however_the_work_is_done(
    curation: Any, made: Path, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    assert cli.main(curation.arguments(tmp_path / "out", *extra)) == 0
    found, expected = curation.tree(tmp_path / "out"), curation.tree(made)
    if any("backend" in key for key in extra):  # which the config in the manifest, and so the report, tells
        for tree in (found, expected):
            told = json.loads(tree.pop("manifest.json"))
            del told["config"]["dedup.backend"]
            tree["manifest.json"] = json.dumps(told).encode()
            del tree["report.html"]
    assert found == expected
    assert {"facts.json", "units.json"} < set(found)


@pytest.mark.slow
def test_classifiers_are_trained_to_the_same_bytes(curation: Any, tmp_path: Path) -> None:
    steps = ("extract", "repair", "gopher_quality", "quality", "dedup", "toxicity", "adult", "spam")
    for workers in (1, 2):
        arguments = curation.arguments(tmp_path / str(workers) / "out", f"--config.workers={workers}", steps=steps)
        assert cli.main(arguments) == 0
    assert (tmp_path / "1" / "out" / "models" / "spam" / "weights.npy").is_file()
    assert curation.tree(tmp_path / "1" / "out") == curation.tree(tmp_path / "2" / "out")


def test_every_record_of_the_input_is_in_one_ledger(curation: Any, made: Path) -> None:
    files = list_files(str(curation.crawl))
    ids = [record.id for file in files for record in read(file, Options(), "")]
    found = [record["id"] for folder in FOLDERS for record in records(made, folder)]
    assert len(found) == len(set(found))
    assert sorted(found) == sorted(ids)


def test_sums_agree(made: Path) -> None:
    counts = json.loads((made / "manifest.json").read_text())["counts"]
    total = counts["records"]
    assert total["input"] == total["kept"] + total["dropped"] + total["quarantined"]
    assert sum(counts["dropped_by_rule"].values()) == total["dropped"] > 0
    assert sum(counts["quarantined_by_reason"].values()) == total["quarantined"]
    assert len(records(made, DOCUMENTS)) == total["kept"] > 0
    assert Counter(record["rule"] for record in records(made, DROPPED)) == counts["dropped_by_rule"]
    assert {"dedup.exact", "dedup.minhash", "language.keep", "read.no_document"} <= set(counts["dropped_by_rule"])


def test_a_duplicate_names_a_document_that_was_not_dropped_as_one(made: Path) -> None:
    dropped = records(made, DROPPED)
    duplicates = {record["id"] for record in dropped if record["rule"].startswith("dedup.")}
    named = {record["value"] for record in dropped if record["rule"].startswith("dedup.")}
    assert named
    assert not named & duplicates
    assert named <= {record["id"] for folder in FOLDERS for record in records(made, folder)}


def test_a_finished_curation_is_left_alone(
    curation: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    shutil.copytree(made, output)
    before = curation.tree(output)
    free = ("--config.workers=2", "--config.executor=ray", "--config.min_kept=0.01", "--config.sample.examples=1")
    assert cli.main(curation.arguments(output, *free)) == 0
    assert "kept" in capsys.readouterr().out
    assert curation.tree(output) == before


def test_what_was_killed_between_manifest_and_report_is_brought_to_its_end(
    curation: Any, made: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(made, output)
    (output / "report.html").unlink()
    (output / "work" / "prepare").mkdir(parents=True)
    assert cli.main(curation.arguments(output)) == 0
    assert set(curation.tree(output)) == set(curation.tree(made))


def test_nothing_kept_is_never_right(curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    for min_kept in (0.5, 0.0):
        strict = ("--config.gopher_quality.min_words=90000", f"--config.min_kept={min_kept}")
        line = error(capsys, curation.arguments(output, *strict))
        assert "gopher_quality.min_words" in line
        assert ": 0 of" in line
        assert not (output / "manifest.json").exists()


def test_a_share_that_is_too_small_names_the_worst_rules_and_may_be_allowed(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    strict = "--config.gopher_quality.min_words=400"
    line = error(capsys, curation.arguments(output, strict, "--config.min_kept=0.9"))
    assert "(gopher_quality.min_words" in line, line
    receipts = {path: path.stat().st_mtime_ns for path in (output / "work").glob("*/0*.json")}
    assert len(receipts) == 16
    assert error(capsys, curation.arguments(output, strict, "--config.min_kept=0.9")) == line
    assert {path: path.stat().st_mtime_ns for path in receipts} == receipts
    assert cli.main(curation.arguments(output, strict, "--config.min_kept=0.001")) == 0


WRONG = [
    (("--config.steps=('extract','gopher_qualty')",), "did you mean gopher_quality"),
    (("--config.steps=('extract','extract')",), "twice"),
    (("--config.gopher_quality.min_wrods=3",), "min_wrods"),
    (("--config.gopher_quality.min_words=many",), "min_words"),
    (("--config.workers=2.5",), "workers"),
    (("--config.read.max_record_bytes=0",), "max_record_bytes"),
    (("--config.sample.documents=0",), "sample.documents"),
    (("--config.workers=-1",), "workers"),
    (("--config.min_kept=2.0",), "min_kept"),
    (("--config.dedup.backend=disk",), "backend"),
    (("--config.dedup.prefer=quality",), "prefer"),
    (("--config.read.format=docx",), "docx"),
    (("--config.input=",), "config.input"),
    (("--config.input=/no/such/crawl",), "/no/such/crawl"),
    (("--config.decontaminate.paths=('/no/such/bench.jsonl',)",), "/no/such/bench.jsonl"),
    (("--config.steps=('extract','toxicity')", "--config.toxicity.model=/no/such/model"), "/no/such/model"),
    (("--config.steps=('extract','toxicity')", "--config.toxicity.model=/no/such/model.bin"), "/no/such/model.bin"),
    (("--config.steps=('extract','toxicity')", "--config.toxicity.min=0.9"), "toxicity.min"),
    (("--config.steps=('extract','perplexity')",), "perplexity.run"),
    (("--config.steps=('extract','perplexity')", "--config.perplexity.run=/no/such/run"), "/no/such/run"),
    (("--config.executor=cloud",), "cloud"),
    (("--config.executor=slurm",), "partition"),
]


@pytest.mark.parametrize(("extra", "named"), WRONG, ids=[" ".join(extra) for extra, _ in WRONG])
def test_mistakes_are_one_line_and_leave_nothing(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: tuple[str, ...], named: str
) -> None:
    assert named in error(capsys, curation.arguments(tmp_path / "deep" / "out", *extra))
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_that_is_none_leaves_nothing(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "bench.jsonl"
    broken.write_text('{"question": \n')
    paths = f"--config.decontaminate.paths=({str(broken)!r},)"
    assert str(broken) in error(capsys, curation.arguments(tmp_path / "out", paths))
    assert not (tmp_path / "out").exists()


def test_slurm_where_there_is_none(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    extra = ("--config.executor=slurm", "--config.slurm.partition=cpu")
    assert "sbatch" in error(capsys, curation.arguments(tmp_path / "out", *extra))
    assert list(tmp_path.iterdir()) == []


def test_ray_where_there_is_none(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert "lm[ray]" in error(capsys, curation.arguments(tmp_path / "out", "--config.executor=ray"))
    assert list(tmp_path.iterdir()) == []


def test_no_files_in_the_input(curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    line = error(capsys, curation.arguments(tmp_path / "out", f"--config.input={tmp_path / 'empty'}"))
    assert str(tmp_path / "empty") in line
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_config_is_refused_whole(
    curation: Any, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = curation.tree(made)
    line = error(capsys, curation.arguments(made, "--config.c4.min_sentences=4"))
    assert "config.c4.min_sentences" in line
    assert curation.tree(made) == before


def test_an_unfinished_output_of_another_config_is_refused(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    error(capsys, curation.arguments(output, "--config.min_kept=1.0"))
    before = curation.tree(output)
    line = error(capsys, curation.arguments(output, "--config.c4.min_sentences=4"))
    assert "unfinished" in line
    assert "config.c4.min_sentences" in line
    assert curation.tree(output) == before


def test_an_input_that_changed_is_refused(
    curation: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl = tmp_path / "crawl"
    shutil.copytree(curation.crawl, crawl)
    arguments = [*curation.arguments(tmp_path / "out"), f"--config.input={crawl}"]
    assert cli.main(arguments) == 0
    next(crawl.rglob("*.gz")).unlink()
    assert "input" in error(capsys, arguments)


def test_an_output_of_another_stage_is_refused(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"stage": "shard", "config": {}, "inputs": {}, "counts": {}, "files": [], "version": "0"})
    )
    assert "lm shard" in error(capsys, curation.arguments(tmp_path))


def test_files_that_no_curation_made_are_not_touched(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "documents" / "letter.txt"
    mine.parent.mkdir()
    mine.write_text("Dear reader")
    assert "documents" in error(capsys, curation.arguments(tmp_path))
    assert mine.read_text() == "Dear reader"


@pytest.mark.parametrize("output", ["crawl/out", "crawl", "crawl/CC-MAIN-2026-04/out"])
def test_an_output_within_the_input_is_refused(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    shutil.copytree(curation.crawl, tmp_path / "crawl")
    before = curation.tree(tmp_path)
    for pattern in ("crawl", "crawl/**"):
        arguments = [*curation.arguments(tmp_path / output), f"--config.input={tmp_path / pattern}"]
        if pattern == "crawl" or output == "crawl":
            assert "lies in the input" in error(capsys, arguments)
    assert curation.tree(tmp_path) == before


def test_two_commands_do_not_work_on_one_output(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    with claim.locked(output):
        assert "another `lm curate`" in error(capsys, curation.arguments(output))
    assert not output.exists()
    assert cli.main(curation.arguments(output)) == 0


def test_names_in_other_scripts_links_and_bytes_that_are_no_text(curation: Any, tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    first, second, third, *_ = sorted(curation.crawl.rglob("*.gz"))
    shutil.copy(first, crawl / "été 語 #1%20.warc.gz")
    (crawl / "link.warc.gz").symlink_to(second)
    shutil.copy(third, os.fsencode(crawl) + b"/\xff\xfe.warc.gz")
    for workers in (1, 2):
        arguments = curation.arguments(tmp_path / str(workers) / "out", f"--config.workers={workers}")
        assert cli.main([*arguments, f"--config.input={crawl}"]) == 0
    assert curation.tree(tmp_path / "1" / "out") == curation.tree(tmp_path / "2" / "out")
    files = {
        record["id"].rpartition("#")[0] for folder in FOLDERS for record in records(tmp_path / "1" / "out", folder)
    }
    assert len(files) == 3
    assert {"été 語 #1%20.warc.gz", "link.warc.gz"} < files


def test_a_dry_run_writes_nothing_and_shows_every_rule(
    curation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whatever were written to relative names would show, too
    config = Path(cli.__file__).parents[1] / "configs/curate/web.py:smoke"
    steps = ("extract", "language", "gopher_quality", "dedup", "spam")
    arguments = [*curation.arguments(tmp_path / "deep" / "out", steps=steps), f"--config={config}"]
    before = curation.tree(curation.folder)
    assert cli.main([*arguments, "--config.dry_run=True", "--config.sample.documents=400"]) == 0
    shown = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert curation.tree(curation.folder) == before
    assert "400 records sampled" in shown
    for rule in ("gopher_quality.min_words", "language.keep", "dedup.exact", "spam.max", "read.no_document"):
        assert rule in shown, shown
    assert ".warc.gz#" in shown  # an example


def test_a_dry_run_of_everything_drops_what_the_run_drops(
    curation: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = ("--config.dry_run=True", "--config.sample.documents=1000000")
    assert cli.main(curation.arguments(tmp_path / "out", *dry)) == 0
    shown = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    for rule, count in json.loads((made / "manifest.json").read_text())["counts"]["dropped_by_rule"].items():
        assert shown[rule] == f"{count:,}", rule


@pytest.mark.parametrize("place", ["work/thesis.tex", "documents/mine.txt", "report.html", "units.json"])
def test_what_lies_where_a_curation_would_write_is_somebodys(
    curation: Any, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "out" / place
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    assert cli.main(curation.arguments(tmp_path / "out")) == 2
    assert "no curation made it" in capsys.readouterr().err
    assert precious.read_text() == "years of work"
