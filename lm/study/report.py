"""One self-contained page about a run, finished or not: curves, samples, scores, data, parameters, settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lm.common import manifest
from lm.common.config import flatten
from lm.common.progress import duration, quantity
from lm.data import tokenizer as tokenizers
from lm.data.shards import Shards
from lm.study import figures, record, validation
from lm.study.page import environment
from lm.study.record import Record
from lm.train import run as runs

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHOWN_TOKENS = 96
_SHOWN_ANSWERS = 3  # right, and as many wrong


@dataclass(frozen=True)
class Headline:
    """One of the figures that a run is known by, and what to read it against."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


def write(run: Path) -> Path:
    """Writes `report.html` into a run directory, finished or not, and returns its path; same run, same bytes.

    Raises:
        UserError: there is no run, or one of its files is damaged.
    """
    page = environment().get_template("report.html").render(_view(record.read(run)))
    manifest.write_atomic(run / runs.REPORT, page)
    return run / runs.REPORT


def summary(run: Path) -> str:
    """Returns a run's headline figures as a table for the terminal.

    Raises:
        UserError: there is no run, or one of its files is damaged.
    """
    what = record.read(run)
    rows = [(line.label, f"{line.value} {line.unit}".rstrip(), line.note) for line in headlines(what)]
    name, value = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"  {row[0]:<{name}}  {row[1]:>{value}}  {row[2]}".rstrip() for row in rows]
    return "\n".join([f"{run}: {_state(what)}", *lines])


def headlines(run: Record) -> list[Headline]:
    """Returns the figures a run is known by, as far as it has come."""
    found = []
    if run.facts:
        layers = sum(count for path, _, count in run.facts["parameters"] if path.startswith("layers/"))
        share = f"{100 * layers / run.facts['n_params']:.0f} % of them in the layers"
        found.append(Headline("Parameters", quantity(run.facts["n_params"]), note=share))
    if run.imported:
        return found
    if not run.metrics:
        return [*found, Headline("Steps", f"0 of {run.steps:,}")]
    per_parameter = f"{quantity(run.tokens / run.facts['n_params'])} a parameter" if run.facts else ""
    found.append(Headline("Training tokens", quantity(run.tokens), note=per_parameter))
    found += _losses(run)
    rate, mfu = (_median(run, key) for key in ("tokens_per_second", "mfu"))
    found.append(Headline("Throughput", quantity(rate), "tokens/s", "median"))
    found.append(Headline("MFU", f"{100 * mfu:.0f}", "%", "of peak FLOP/s, median"))
    if run.facts:
        found.append(
            Headline("Compute", _scientific(run.tokens * run.facts["flops_per_token"]), "FLOPs", "in training")
        )
    found.append(Headline("Training time", duration(run.seconds), note="without evaluations"))
    return found


def _losses(run: Record) -> list[Headline]:
    """Loss and bits per byte of held-out text, or of training where nothing is held out."""
    scores = validation.newest(run)
    if scores is not None:
        found = [Headline("Validation loss", f"{scores.loss:.3f}", "nats/token", _loss_note(run, scores))]
        bits, what = scores.bits_per_byte, "held-out"
    elif (last := run.last("train/loss")) is not None:
        found = [Headline("Training loss", f"{last[1]:.3f}", "nats/token", f"at step {last[0]:,}")]
        bits, what = (run.last("train/bits_per_byte") or (0, math.nan))[1], "training"
    else:
        return []
    if bits > 0:
        found.append(Headline("Bits per byte", f"{bits:.3f}", note=f"{what} text {8 / bits:.2g}× smaller"))
    return found


def _loss_note(run: Record, scores: validation.Scores) -> str:
    """What the loss was measured on, and what it compares with: the figures of training where they are of less text."""
    note = f"at step {scores.step:,} on {scores.scope}"
    logged = validation.in_training(run)
    if logged is not None and logged.scope != scores.scope:
        note += f"; in training {logged.loss:.3f} on {logged.scope}"
    steps, values = run.series("val/loss")
    if len(values) and (best := int(values.argmin())) < len(values) - 1:
        return f"{note}; lowest {values[best]:.3f} at {steps[best]:,}"
    return f"{note}; perplexity {math.exp(min(scores.loss, 700.0)):.3g}"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def _median(run: Record, key: str) -> float:
    """Returns the median over the logged steps but the first, which compiles."""
    _, values = run.series(key)
    return float(np.median(values[1:] if len(values) > 1 else values)) if len(values) else math.nan


def _state(run: Record) -> str:
    if run.imported:
        return f"imported from a {run.imported['family']} checkpoint"
    return f"finished, {run.steps:,} steps" if run.finished else f"unfinished, step {run.step:,} of {run.steps:,}"


def _view(run: Record) -> dict[str, Any]:
    """Everything the template shows."""
    derived = run.facts.get("derived", [])
    return {
        "run": run,
        "state": _state(run),
        "headlines": headlines(run),
        "figures": _figures(run) if run.metrics else {},
        "window": figures.smoothing_window(len(run.series("train/loss")[0])),
        "validation": validation.in_training(run),
        "headline_scores": validation.newest(run),
        "by_source": validation.table(run),
        "samples": run.samples,
        "evaluation": _evaluation(run),
        "questions": _questions(run.evaluation.get("questions")),
        "data": _data(run),
        "tokenizer": run.tokenizer,
        "tokens": _tokens(run),
        "parameters": _parameters(run.facts.get("parameters", [])),
        "derived": derived,
        "config": _config(run.config, {item["key"] for item in derived}),
    }


def _figures(run: Record) -> dict[str, Markup]:
    """Draws every figure; the loss twice, for wide and for narrow pages."""
    drawn: dict[str, tuple[figures.Draw, int, int, str]] = {
        "loss_wide": (figures.loss, 960, 360, "Loss by step"),
        "loss_narrow": (figures.loss, 380, 300, "Loss by step"),
        "learning_rate": (figures.learning_rate, 306, 190, "Learning rate by step"),
        "gradient_norm": (figures.gradient_norm, 306, 190, "Gradient norm by step"),
        "throughput": (figures.throughput, 306, 190, "Tokens per second by step"),
    }
    if validation.sources(run):
        drawn["by_source_wide"] = (figures.loss_by_source, 960, 240, "Validation loss by source and step")
        drawn["by_source_narrow"] = (figures.loss_by_source, 380, 240, "Validation loss by source and step")
    # Safe as markup: the drawings hold our words and numbers alone.
    return {
        name: Markup(figures.svg(draw, run, width, height, title))
        for name, (draw, width, height, title) in drawn.items()
    }


def _evaluation(run: Record) -> list[dict[str, Any]]:
    """Rows of text scored by `lm eval`: the run's own validation split, or text given by name."""
    own, given = run.evaluation.get("perplexity"), run.evaluation.get("text")
    rows: list[dict[str, Any]] = []
    if own:
        part = validation.scope(run, own.get("max_tokens", 0))
        rows.append({"text": f"the run’s validation split: {part}", **own})
    if given:
        part = f", its first {quantity(given['max_tokens'])} tokens" if given.get("max_tokens") else ""
        rows.append({"text": f"{given['path']}{part}", **given})
    return [
        {
            "text": row["text"],
            **{key: row[f"val/{key}"] for key in ("loss", "bits_per_byte", "perplexity")},
        }
        for row in rows
    ]


def _questions(scored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Scores by kind, the overall one first, and a few answers right and wrong, of as many kinds as there are."""
    if not scored:
        return None
    rows = [{"kind": "all", **scored["overall"]}]
    rows += [{"kind": kind, **row} for kind, row in scored["by_kind"].items()]
    chosen = {
        verdict: _one_a_kind([row for row in scored["answers"] if row["correct"] == verdict])
        for verdict in (True, False)
    }
    return {"rows": rows, "right": chosen[True], "wrong": chosen[False]}


def _one_a_kind(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for answer in answers:
        first.setdefault(answer["kind"], answer)
    others = [answer for answer in answers if first[answer["kind"]] is not answer]
    return [*first.values(), *others][:_SHOWN_ANSWERS]


def _data(run: Record) -> list[dict[str, Any]]:
    """A row for each split and source that has tokens."""
    if run.data is None:
        return []
    paths, epochs = run.data.config.get("paths", {}), run.facts.get("epochs", {})
    return [
        {
            "split": split,
            "source": source,
            "path": paths.get(source, ""),
            **{key: counts[key] for key in ("documents", "tokens", "bytes")},
            "bytes_per_token": counts["bytes"] / counts["tokens"],
            "epochs": epochs.get(source) if split == "train" else None,
        }
        for split, sources in run.data.counts["splits"].items()
        for source, counts in sources.items()
        if counts["tokens"]
    ]


def _tokens(run: Record) -> list[dict[str, Any]]:
    """The first tokens of the held-out text (or of the training text, if none is) as the model is given them."""
    if run.shards is None or not (run.directory / runs.TOKENIZER / manifest.NAME).is_file():
        return []
    shards, tokenizer = Shards.open(run.shards), tokenizers.load(run.directory / runs.TOKENIZER)
    source = shards.sources("val" if "val" in shards.splits else "train")[0]
    token_BL, _ = source.gather(np.zeros(1, np.int64), min(_SHOWN_TOKENS, source.n_tokens))
    control = set(tokenizer.control.values())
    return [{"id": id, "piece": tokenizer.piece(id), "control": id in control} for id in token_BL[0].tolist()]


def _parameters(table: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The parameter table in groups: the embedding, each block of the layer pattern, and what follows."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, shape, count in table:
        parts = path.split("/")
        depth = 2 if parts[0] == "layers" else 1
        row = {"path": "/".join(parts[depth:]), "shape": " × ".join(map(str, shape)), "count": count}
        groups.setdefault("/".join(parts[:depth]), []).append(row)
    total = sum(row["count"] for rows in groups.values() for row in rows)
    return [
        {
            "name": name,
            "count": (count := sum(row["count"] for row in rows)),
            "share": count / total,
            "rows": [{**row, "share": row["count"] / total} for row in rows],
        }
        for name, rows in groups.items()
    ]


def _config(config: Mapping[str, Any], derived: set[str]) -> list[dict[str, Any]]:
    """The config's sections with dotted keys; `derived` keys are marked."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for key, value in flatten(config):
        section, _, rest = key.partition(".")
        row = {"key": rest or key, "value": json.dumps(value, ensure_ascii=False), "derived": key in derived}
        sections.setdefault(section if rest else "", []).append(row)
    return [{"name": name or "run", "rows": rows} for name, rows in sections.items()]
