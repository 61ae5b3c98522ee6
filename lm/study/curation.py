"""The report of a curation: what came in, what each rule cut and at which limit, and what stayed, with examples."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from lm.common import manifest
from lm.common.config import flatten
from lm.data.curate import ledger
from lm.data.curate.classify import KINDS
from lm.data.curate.output import DOCUMENTS, DROPPED, FACTS, STAGE, files_of
from lm.data.curate.phases import FAILED
from lm.data.curate.tally import Tally
from lm.study import classifiers
from lm.study.histograms import histogram
from lm.study.page import REPORT, environment

_EXAMPLES = 2
_CLUSTERS = 4
_MEMBERS = 4
_SAMPLES = 4
_EXCERPT = 420
_BINS = 40


class Rung(NamedTuple):
    """One bar of the funnel: the documents that came to a step, and how many of them it dropped."""

    name: str
    reached: int
    dropped: int


def write(output: Path) -> Path:
    """Writes `report.html` into a finished curation directory and returns its path.

    Raises:
        UserError: the directory holds no finished curation.
    """
    made = manifest.read(output, STAGE)
    facts = json.loads((output / FACTS).read_text(encoding="utf-8"))
    path = output / REPORT
    page = environment().get_template("curation.html").render(**_view(output, made, facts))
    manifest.write_atomic(path, page)
    return path


def _view(output: Path, made: manifest.Manifest, facts: Mapping[str, Any]) -> dict[str, Any]:
    dropped, kept = files_of(output, DROPPED), files_of(output, DOCUMENTS)
    counts = made.counts
    rules = _rules(dropped, counts)
    return {
        "shown": next((rule["rule"] for rule in rules if rule["examples"]), ""),
        "name": output.name,
        "version": made.version,
        "counts": counts,
        "records": counts["records"],
        "funnel": funnel(facts),
        "rules": rules,
        "histograms": histograms({**facts["prepare"]["observed"], **facts["finish"]["observed"]}, made.config),
        "samples": facts["prepare"]["samples"][:_SAMPLES],
        "kept": [_clip(record["text"]) for record in itertools.islice(_records(kept), _SAMPLES)],
        "clusters": clusters(_records(dropped)),
        "languages": _ranked(counts["languages"]),
        "pii": _ranked(counts["pii"]),
        "quarantined": _ranked(counts["quarantined_by_reason"]),
        "classifiers": classifiers.panels(output / "models", _thresholds(made.config)),
        "config": [(key, json.dumps(value, ensure_ascii=False)) for key, value in flatten(made.config)],
    }


def funnel(facts: Mapping[str, Any]) -> list[Rung]:
    """Returns the way of the documents through the steps, in order; the records that were read stand first."""
    before, after = Tally.sum([facts["prepare"]]), Tally.sum([facts["finish"]])
    unread = sum(n for reason, n in before.quarantined.items() if not reason.startswith(FAILED))
    skipped = before.dropped["read.no_document"]
    rungs = [Rung("read", before.records, unread + skipped)]
    reached = before.records - unread - skipped
    for names, tally in ((facts["steps"], before), (["dedup"] * facts["dedup"] + facts["steps_after"], after)):
        for name in names:
            gone = sum(count for rule, count in tally.dropped.items() if rule.split(".")[0] == name)
            gone += sum(n for reason, n in tally.quarantined.items() if reason.startswith(f"{FAILED}{name}:"))
            rungs.append(Rung(name, reached, gone))
            reached -= gone
    return [*rungs, Rung("kept", reached, 0)]


def histograms(observed: Mapping[str, list[float]], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns each rule's distribution over the observed documents, drawn with its limit."""
    limits = dict(flatten(config))
    return [
        {
            "rule": rule,
            "limit": limits[rule],
            "svg": Markup(histogram(np.asarray(values, np.float64), float(limits[rule]), _BINS, rule)),
        }
        for rule, values in sorted(observed.items())
        if isinstance(limits.get(rule), int | float) and len(set(values)) > 1
    ]


def _thresholds(config: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Returns the limits of each classifier in use, those that can drop anything."""
    found = {}
    for kind in set(KINDS) & set(config["steps"]):
        least, most = config[f"{kind}.min"], config[f"{kind}.max"]
        found[kind] = (*((least,) if least > 0 else ()), *((most,) if most < 1 else ()))
    return found


def _rules(dropped: list[Path], counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each rule that dropped anything, most first, with examples."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for record in _records(dropped):
        found = examples.setdefault(record["rule"], [])
        if len(found) < _EXAMPLES and record.get("text"):
            found.append({**record, "text": _clip(record["text"])})
    return [
        {"rule": rule, "count": count, "share": count / counts["records"]["input"], "examples": examples.get(rule, [])}
        for rule, count in _ranked(counts["dropped_by_rule"])
    ]


def clusters(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the largest groups of duplicates: the survivor's id, how many went, and a few of them."""
    sizes: Counter[str] = Counter()
    members: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if not record["rule"].startswith("dedup."):
            continue
        survivor = str(record["value"])
        sizes[survivor] += 1
        found = members.setdefault(survivor, [])
        if len(found) < _MEMBERS:
            found.append({"id": record["id"], "rule": record["rule"], "text": _clip(record["text"])})
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_CLUSTERS]
    return [{"survivor": survivor, "size": size, "members": members[survivor]} for survivor, size in largest]


def _records(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    return itertools.chain.from_iterable(ledger.read(path) for path in paths)


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _clip(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + " …"
