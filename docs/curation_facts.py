"""Facts of the chapter on curation, by name; see `facts`."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from curation_view import Copy, Curation, Record
from run_view import Run

from lm.data import mixture, readers
from lm.data.curate import rules
from lm.data.curate.classify import linear, measure
from lm.data.curate.dedup import PRESETS, MinHash
from lm.data.curate.document import Document, Dropped
from lm.data.curate.preview import describe
from lm.data.curate.words import split_words
from lm.stages import trace
from lm.study import curation as report

Fact = str | list[list[str]]
COLUMNS = 95
SENTENCE = "They don't re-use the U.S. crawl's 3.5 GB, do they?"
SIMILARITIES = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
SAMPLED, SHOWN_LINES = 400, 22
CODE_FILES = 300
SOURCES = {"web": 900e9, "code": 90e9, "books": 9e9}  # tokens of an imagined mixture
BUDGET = 1e12
_FILE = re.compile(r"CC-MAIN-\S*-(?=\d+\.warc)")  # an id's folder and date
_ROW = re.compile(r"^(?=step )", re.MULTILINE)
MEASURES = {
    "extraction F1": "words of clean pages that were extracted, against their text",
    "clean pages kept": "clean pages that no rule dropped",
    "near-duplicate recall": "copies at least 0.85 alike that were found",
    "near-duplicate precision": "documents dropped as copies that were copies",
    "toxicity F1": "toxic pages dropped and no others, F₁",
    "adult F1": "pages of adult content, likewise",
    "spam F1": "spam, likewise",
    "PII recall": "planted personal data gone from what was kept",
    "leaks found, verbatim": "pages that held a test question word for word",
    "leaks found, edited": "pages that held a lightly edited one",
}


def _cut(text: str, columns: int = COLUMNS) -> str:
    return text if len(text) <= columns else text[: columns - 2] + " …"


def _share(part: float, whole: float, digits: int = 0) -> str:
    return f"{100 * part / max(whole, 1e-12):.{digits}f} %"


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(map(_cut, lines))


def _documents(curation: Curation) -> int:
    counts = curation.made.counts
    return counts["records"]["input"] - counts["dropped_by_rule"].get("read.no_document", 0)


def _dropped(curation: Curation) -> Fact:
    """Returns a row for the first record that each step dropped."""
    first: dict[str, Record] = {}
    for record in curation.dropped.values():
        first.setdefault(record["rule"].split(".")[0], record)
    order = ("read", *curation.facts["steps"], "dedup", *curation.facts["steps_after"])
    cells = ("id", "rule", "value", "threshold")
    return [[_cell(first[step][key]) for key in cells] for step in order if step in first]


def _cell(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _FILE.sub("…", str(value))


def _funnel(curation: Curation) -> Fact:
    rules_of: dict[str, Counter[str]] = {}
    for rule, count in curation.made.counts["dropped_by_rule"].items():
        step, _, limit = rule.partition(".")
        rules_of.setdefault(step, Counter())[limit] = count
    *rungs, kept = report.funnel(curation.facts)
    rows = []
    for rung in rungs:
        broken = ", ".join(f"{limit} {count:,}" for limit, count in rules_of.get(rung.name, Counter()).most_common(3))
        gone = [f"{rung.dropped:,}", _share(rung.dropped, rung.reached, 1)] if rung.dropped else ["–", ""]
        rows.append([rung.name, f"{rung.reached:,}", *gone, broken])
    return [*rows, ["kept", f"{kept.reached:,}", "", "", ""]]


def _score(curation: Curation) -> Fact:
    return [[MEASURES.get(name, name), f"{row['value']:.3f}", f"{row['of']:,}"] for name, row in curation.score.items()]


def _markup(curation: Curation) -> Fact:
    page, record = curation.example
    html = page.html.decode(record["meta"]["encoding"], "replace")
    return _lines([line for line in html[html.index("<body") :].splitlines() if line.strip()])


def _text(curation: Curation) -> Fact:
    return _lines([line for line in curation.example[1]["text"].splitlines() if line.strip()])


def _code_dropped(names: Sequence[str]) -> Fact:
    """Returns which share of the interpreter's own files the rule sets of these names would drop."""
    sets = [rules.from_config(name, {}) for name in names]
    files = [Document(file.id, file.text, "") for file in _code_files()]
    dropped = sum(any(isinstance(check(file), Dropped) for check in sets) for file in files)
    return _share(dropped, len(files))


@cache
def _code_files() -> tuple[Any, ...]:
    documents: Iterator[Any] = iter(readers.open_documents("builtin:stdlib"))
    return tuple(islice((document for document in documents if document.id.endswith(".py")), CODE_FILES))


def _counted(counts: dict[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} × {name}" for name, count in ranked) or "none"


def _foreign(curation: Curation) -> Fact:
    return _counted(Counter(r["value"] for r in curation.dropped.values() if r["rule"] == "language.keep"))


def _presets() -> Fact:
    rows = []
    for name, (bands, rows_of_band) in PRESETS.items():
        chances = [f"{MinHash(bands, rows_of_band).link_probability(s):.3f}" for s in SIMILARITIES]
        rows.append([name, str(bands), str(rows_of_band), f"{(1 / bands) ** (1 / rows_of_band):.2f}", *chances])
    return rows


def _least_alike(curation: Curation) -> Copy:
    return min((copy for copy in curation.copies if copy.is_found), key=lambda copy: copy.page.similarity)


def _edits(curation: Curation) -> Fact:
    """Returns what was edited in the least similar copy that was found: [-old-] and {+new+} words."""
    found = _least_alike(curation)
    old, new = (text.split() for text in (found.original.text, found.page.text))
    parts = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts.append(" ".join(old[a:b]) if b - a <= 8 else " ".join([*old[a : a + 4], "…", *old[b - 4 : b]]))
        else:
            gone, come = " ".join(old[a:b]), " ".join(new[c:d])
            parts.append((f"[-{_cut(gone, 40)}-]" if gone else "") + (f"{{+{_cut(come, 40)}+}}" if come else ""))
    return " ".join(parts)


def _models(curation: Curation) -> Fact:
    rows = []
    for folder in curation.models:
        known = linear.read_facts(folder)
        limits = curation.made.config
        name = folder.name
        side = "max" if limits[f"{name}.max"] < 1 else "min"
        at = measure.point(*linear.read_measured(folder), limits[f"{name}.{side}"])
        numbers = [f"{at.precision:.3f}", f"{at.recall:.3f}", f"{known['calibration_error']:.3f}"]
        rows.append([name, f"{side} {at.threshold:g}", *numbers, f"{known['best']['threshold']:.2f}"])
    return rows


def _leak(curation: Curation) -> Fact:
    """Returns a leaked item as its benchmark has it and as its page has it: an edited one, if one was found."""
    found = [page for page in curation.truth if page.leak and _rule(curation, page.id).startswith("decontaminate.")]
    page = min(found, key=lambda page: (page.leak.edit == "verbatim", len(page.text)))
    with curation.truth.benchmark.open(encoding="utf-8") as file:
        item = json.loads(next(islice(file, page.leak.item, None)))
    passage = page.text[page.leak.start : page.leak.end]
    coverage = str(curation.dropped[page.id]["value"]).rpartition(" ")[2]
    shown = (("item", item["question"]), (f"page ({page.leak.edit})", passage), ("covered", coverage))
    return "\n".join(f"{name}: {' '.join(text.split())}" for name, text in shown)


def _rule(curation: Curation, id: str) -> str:
    return str(curation.dropped[id]["rule"]) if id in curation.dropped else ""


def _dry_run(curation: Curation) -> Fact:
    lines = _FILE.sub("…", describe(curation.dry_run(SAMPLED))).splitlines()
    return _lines([*lines[:SHOWN_LINES], "…"] if len(lines) > SHOWN_LINES else lines)


def _mixture(run: Run) -> Fact:
    """Returns a row for each source of the run: its share, the tokens there are, those trained on, and epochs."""
    rows = []
    for source in run.shards.sources("train"):
        share = run.record["shares"][source.name]
        numbers = [f"{source.n_tokens:,}", f"{round(share * run.record['tokens']):,}"]
        rows.append([source.name, _share(share, 1), *numbers, f"{run.record['epochs'][source.name]:.2g}"])
    return rows


def _shares() -> Fact:
    """Returns shares of imagined sources by temperature, without and with a cap on epochs."""
    tokens = {name: round(count) for name, count in SOURCES.items()}
    rows = [["there are", *(f"{count / 1e9:g}G" for count in tokens.values())]]
    for temperature, cap in ((1.0, 0.0), (2.0, 0.0), (5.0, 0.0), (5.0, 4.0)):
        found = mixture.shares(tokens, {}, temperature=temperature, max_epochs=cap, budget=round(BUDGET))
        epochs = [f"{_share(share, 1, 1)} ({share * BUDGET / tokens[name]:.2g})" for name, share in found.items()]
        rows.append([f"temperature {temperature:g}" + (f", cap {cap:g}" if cap else ""), *epochs])
    return rows


def _trace(run: Run) -> Fact:
    """Returns what `lm trace` says of the first row of a batch that holds curated text, up to its second document."""
    for step in range(1, run.config["train"]["steps"] + 1):
        settings = trace.defaults()
        settings.run, settings.step, settings.characters = str(run.directory), step, 70
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            trace.run(settings, None)
        for row, found in enumerate(_ROW.split(printed.getvalue())[1:]):
            if "\n    url: " in found:
                lines = found.splitlines()
                documents = [number for number, line in enumerate(lines) if line.startswith("  ") and line[2] != " "]
                command = f"$ lm trace RUN --step={step} --row={row} --characters=70"
                return _lines([command, *lines[: (*documents, None)[1]], *(["  …"] if documents[1:] else [])])
    raise AssertionError("no batch holds curated text")


FACTS: dict[str, Callable[[Run], Fact]] = {
    "curation.pages": lambda run: f"{len(run.curation.truth):,}",
    "curation.records": lambda run: f"{run.curation.made.counts['records']['input']:,}",
    "curation.documents": lambda run: f"{_documents(run.curation):,}",
    "curation.kept": lambda run: f"{run.curation.made.counts['records']['kept']:,}",
    "curation.quarantined": lambda run: f"{run.curation.made.counts['records']['quarantined']:,}",
    "curation.n_words": lambda run: f"{run.curation.made.counts['words']:,}",
    "curation.dropped": lambda run: _dropped(run.curation),
    "curation.funnel": lambda run: _funnel(run.curation),
    "curation.score": lambda run: _score(run.curation),
    "curation.markup": lambda run: _markup(run.curation),
    "curation.text": lambda run: _text(run.curation),
    "curation.sentence": lambda run: SENTENCE,
    "curation.words": lambda run: " · ".join(split_words(SENTENCE)),
    "curation.code_by_gopher": lambda run: _code_dropped(("gopher_quality", "gopher_repetition")),
    "curation.code_by_code": lambda run: _code_dropped(("code",)),
    "curation.pii": lambda run: _counted(run.curation.made.counts["pii"]),
    "curation.foreign": lambda run: _foreign(run.curation),
    "curation.presets": lambda run: _presets(),
    "curation.similarity": lambda run: f"{_least_alike(run.curation).page.similarity:.2f}",
    "curation.edits": lambda run: _edits(run.curation),
    "curation.models": lambda run: _models(run.curation),
    "curation.leak": lambda run: _leak(run.curation),
    "curation.dry_run": lambda run: _dry_run(run.curation),
    "curation.trace": _trace,
    "mixture.run": _mixture,
    "mixture.shares": lambda run: _shares(),
}
