"""The page as a browser takes it: self-contained, escaped, true to the run, and there for unfinished runs too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.stages import report as stage
from lm.study import report
from lm.train import run as runs

VOID = {"br", "meta", "wbr"}
REFERENCES = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")


class Page(HTMLParser):
    """Collects elements, their text, and whatever a browser would fetch; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.styles = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.text[tag][-1] += data

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in REFERENCES:
                self.references.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name in ("style", "clip-path"):
                self.references += re.findall(r"url\(([^)]*)\)", value or "")


def read(run: Path) -> Page:
    return Page(report.write(run).read_text())


def text_of(page: Page, tag: str) -> str:
    return " ".join(" ".join(page.text[tag]).split())


def test_nothing_is_fetched_and_every_reference_is_on_the_page(finished: Path) -> None:
    page = read(finished)
    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    assert not re.search(r"@import|url\(", text_of(page, "style"))


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    first = report.write(run).read_bytes()
    assert report.write(run).read_bytes() == first
    assert not re.search(rb"\b20\d\d-\d\d-\d\d", first)


def test_text_of_samples_answers_and_paths_is_shown_not_obeyed(
    run: Path, edit_json: Callable[[Path, Callable[[Any], Any]], None]
) -> None:
    evil = "</pre><script>1</script><b onclick=x>"
    (run / runs.EVALUATION).write_text(
        (run / runs.EVALUATION).read_text().replace('"given": "yes"', f'"given": {json.dumps(evil)}')
    )
    edit_json(run / runs.SAMPLES, lambda samples: [{**samples[0], "prompt": evil}, *samples])
    html = report.write(run).read_text()
    page = Page(html)
    assert "script" not in page.tags
    assert "onclick=x>" not in html.replace("onclick=x&gt;", "")
    shown = "".join(page.text["pre"])
    assert evil in shown
    assert "<script>alert('x')</script> & \"quoted\" </pre>" in shown
    assert evil in page.text["mark"]
    assert "<other>.txt" in page.text["th"]


def test_every_part_of_a_finished_run_is_there(finished: Path) -> None:
    page = read(finished)
    whole = text_of(page, "body")
    assert "Finished 40 steps" in whole
    assert page.text["h1"] == ["a run"]
    assert page.text["mark"] == ["To be"]
    facts = json.loads((finished / runs.RUN).read_text())
    assert f"{facts['n_params']:,} in all" in whole
    assert all(item["source"] in whole for item in facts["derived"])
    assert all(name in whole for name in ("embed", "mixer/q/kernel", "char", "perplexity", "of the whole run"))
    counts = json.loads((finished / "shards" / "manifest.json").read_text())["counts"]["splits"]
    for split in ("train", "val"):
        assert f"{counts[split]['text']['tokens']:,}" in page.text["td"]
    questions = json.loads((finished / runs.EVALUATION).read_text())["questions"]
    for kind, row in questions["by_kind"].items():
        assert kind in page.text["th"]
        assert f"{row['correct']} of {row['n']}" in page.text["td"]
    assert "Answered right" in whole
    assert "Answered wrong" in whole


def test_tokens_are_the_start_of_the_held_out_text(finished: Path) -> None:
    text = (finished.parent / "text.txt").read_text()
    held_out = text[-round(0.2 * len(text)) :]
    page = read(finished)
    cut = next(line for line in page.text["p"] if line.startswith("<bos>"))
    assert cut.removeprefix("<bos>").replace("\\n", "\n") == held_out[:95]


def test_headlines_come_from_the_metrics(run: Path) -> None:
    (run / runs.EVALUATION).unlink()
    values = {line.label: line for line in report.headlines(report.record.read(run))}
    assert values["Training tokens"].value == "1.28k"  # 40 steps of 4 sequences of 8 tokens
    assert values["Validation loss"].value == f"{3 / 40**0.5 + 1:.3f}"
    assert values["Bits per byte"].value == f"{(3 / 40**0.5 + 1) / 0.6931472:.3f}"
    assert values["Throughput"].value == "1.02k"  # the median of 1002, 1004 … 1040
    assert values["MFU"].value == "25"
    flops = json.loads((run / runs.RUN).read_text())["flops_per_token"] * 1280
    mantissa, exponent = values["Compute"].value.split("·10")
    digits = exponent.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    assert float(mantissa) * 10 ** int(digits) == pytest.approx(flops, rel=0.05)


def test_training_time_is_tokens_over_rates(finished: Path) -> None:
    seconds = 32 / 100 + 32 / 1002 + sum(64 / (1000 + step) for step in range(4, 41, 2))
    assert report.record.read(finished).seconds == pytest.approx(seconds)


def test_a_killed_run_is_shown_as_far_as_it_came(killed: Path) -> None:
    page = read(killed)
    whole = text_of(page, "body")
    assert "Unfinished step 20 of 40" in whole
    assert "None yet: samples are written when training ends." in whole
    assert "evaluation" not in page.ids
    assert f"{3 / 20**0.5 + 1:.3f}" in whole
    assert "640" in text_of(page, "dl")


def test_a_run_killed_before_its_first_step(killed: Path) -> None:
    for name in (runs.RUN, runs.METRICS):
        (killed / name).unlink()
    whole = text_of(read(killed), "body")
    assert "step 0 of 40" in whole
    assert "No step has been logged yet." in whole


def test_a_run_whose_shards_are_elsewhere_now_says_so(
    killed: Path, edit_json: Callable[[Path, Callable[[Any], Any]], None]
) -> None:
    elsewhere = killed.parent / "shards"
    (killed / runs.SHARDS).rename(elsewhere)

    def name_shards(config: Any) -> Any:
        return {**config, "data": {**config["data"], "path": str(elsewhere)}}

    edit_json(killed / runs.CONFIG, name_shards)
    assert "Bytes are of the text" in text_of(read(killed), "main")
    elsewhere.rename(killed.parent / "moved")
    assert f"No token shards stand in the run directory, nor at {elsewhere}" in text_of(read(killed), "main")


def test_a_run_without_validation(run: Path) -> None:
    (run / runs.EVALUATION).unlink()
    lines = [json.loads(line) for line in (run / runs.METRICS).read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if not key.startswith("val/")} for line in lines]
    (run / runs.METRICS).write_text("".join(json.dumps(line) + "\n" for line in kept))
    labels = {line.label for line in report.headlines(report.record.read(run))}
    assert "Training loss" in labels
    assert "Validation loss" not in labels
    assert "val " not in text_of(read(run), "svg")


def test_the_lowest_validation_loss_is_named_if_it_is_not_the_last(run: Path) -> None:
    text = (run / runs.METRICS).read_text().splitlines()
    text[-1] = json.dumps({**json.loads(text[-1]), "val/loss": 9.0})
    (run / runs.METRICS).write_text("\n".join(text) + "\n")
    assert f"lowest {3 / 30**0.5 + 1:.3f} at 30" in report.summary(run)


def test_the_summary_is_the_headlines_in_columns(finished: Path) -> None:
    first, *rows = report.summary(finished).splitlines()
    assert first == f"{finished}: finished, 40 steps"
    found = report.headlines(report.record.read(finished))
    assert len(rows) == len(found)
    assert all(line.label in row and line.value in row for line, row in zip(found, rows, strict=True))
    assert len({re.match(r"\s+\S.*?\S  +\S+( \S+)?", row).end() for row in rows}) == 1  # type: ignore[union-attr]


def test_text_that_is_not_known_has_no_bytes(
    run: Path, edit_json: Callable[[Path, Callable[[Any], Any]], None]
) -> None:
    """Token files without a tokenizer: null in the metrics (0 in those of earlier versions) and in eval.json."""
    whole, evaluation = (run / runs.METRICS).read_text(), (run / runs.EVALUATION).read_text()
    (run / runs.EVALUATION).unlink()
    for unknown in (None, 0.0):
        lines = [json.loads(line) for line in whole.splitlines()]
        changed = [{key: unknown if "bits_per_byte" in key else value for key, value in line.items()} for line in lines]
        (run / runs.METRICS).write_text("".join(json.dumps(line) + "\n" for line in changed))
        assert "Bits per byte" not in {line.label for line in report.headlines(report.record.read(run))}
        assert "Validation loss" in report.summary(run)

    def forget(evaluation: Any) -> Any:
        return {**evaluation, "perplexity": {**evaluation["perplexity"], "val/bits_per_byte": None}}

    (run / runs.EVALUATION).write_text(evaluation)
    edit_json(run / runs.EVALUATION, forget)
    assert "Bits per byte" not in report.summary(run)
    edit_json(run / runs.SHARDS / "manifest.json", without_bytes)
    page = read(run)
    assert page.text["td"].count("unknown") == 1 + 4  # the evaluation; bytes and bytes per token of both splits
    assert "2.2500" in page.text["td"]  # the other text's


def without_bytes(manifest: Any) -> Any:
    for split in manifest["counts"]["splits"].values():
        split["text"]["bytes"] = 0
    return manifest


def test_a_loss_beyond_all_perplexity_is_shown(run: Path) -> None:
    (run / runs.EVALUATION).unlink()
    text = (run / runs.METRICS).read_text().splitlines()
    text = [json.dumps({**json.loads(line), "val/loss": 2000.0 - n}) for n, line in enumerate(text)]
    (run / runs.METRICS).write_text("\n".join(text) + "\n")
    assert "perplexity 1.01e+304" in report.summary(run)


def test_no_run_and_damaged_files_are_one_line(killed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run here"):
        report.write(tmp_path)
    (killed / runs.EVALUATION).write_text('{"perplexity": ')
    with pytest.raises(UserError, match=r"eval\.json: not JSON"):
        report.summary(killed)
    (killed / runs.EVALUATION).write_text("[1, 2]")
    with pytest.raises(UserError, match=r"eval\.json: holds a list, not a dict; remove the file"):
        report.summary(killed)


def test_the_command_prints_the_summary_and_names_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = stage.defaults()
    with pytest.raises(UserError, match="--run: not given"):
        stage.run(cfg, None)
    cfg.run = str(run)
    stage.run(cfg, None)
    printed = capsys.readouterr().out
    assert printed.startswith(report.summary(run))
    assert f"{run / runs.REPORT}: " in printed
    assert (run / runs.REPORT).is_file()
