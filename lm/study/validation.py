"""How a run does on its held-out text: over how much of it, and on each source of a mixture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lm.common.progress import quantity
from lm.study.record import Record

_LOSS_OF_A_SOURCE = re.compile("val/([^/]+)/loss")


@dataclass(frozen=True)
class Scores:
    """Figures of the validation split at one step, NaN where not known.

    Attributes:
        step: the step of the model scored.
        loss: nats per token, the mean over all tokens scored.
        bits_per_byte: of text.
        scope: how much of the split was scored, in words.
        sources: (loss, bits per byte) by source, where there are several.
    """

    step: int
    loss: float
    bits_per_byte: float
    scope: str
    sources: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class SourceRow:
    """A line of the table by source; shares are None where they are not known or have no meaning."""

    name: str
    trained: float | None
    held_out: float | None
    loss: float
    bits_per_byte: float


def newest(run: Record) -> Scores | None:
    """Returns the figures to know a run by: `lm eval`'s of the newest step over the whole split, else `in_training`."""
    scored = run.evaluation.get("perplexity")
    if scored and run.evaluation.get("step") == run.step and _is_whole(run, scored.get("max_tokens", 0)):
        return _scores(run.step, scored, scope(run, 0))
    return in_training(run)


def in_training(run: Record) -> Scores | None:
    """Returns the last figures that were logged in training, over its first `train.eval_tokens` tokens."""
    lines = [line for line in run.metrics if math.isfinite(line.get("val/loss", math.nan))]
    return _scores(lines[-1]["step"], lines[-1], scope(run, run.config["train"]["eval_tokens"])) if lines else None


def scope(run: Record, max_tokens: int) -> str:
    """Returns in words how much of the split an evaluation over at most `max_tokens` (0: all) scores."""
    if _is_whole(run, max_tokens):
        return "all held-out text"
    held_out = sum(_tokens(run, "val").values())
    return f"the first {quantity(max_tokens)}{f' of {quantity(held_out)}' if held_out else ''} held-out tokens"


def sources(run: Record) -> list[str]:
    """Returns the sources that were told apart in training, in the order logged."""
    return _told_apart(dict.fromkeys(key for line in run.metrics for key in line))


def table(run: Record) -> list[SourceRow]:
    """Returns a row for each source of a mixture, one for all held-out text, and one for the mixture trained on.

    The last is each source's loss by its share of the training examples: the one to hold against the training loss.
    It is left out where a source that was trained on has no figures. Of a single source there are no rows.
    """
    scores = newest(run)
    if scores is None or not scores.sources:
        return []
    trained, held_out = _shares(run, "train"), _shares(run, "val")
    rows = [
        SourceRow(name, trained.get(name), held_out.get(name), *figures) for name, figures in scores.sources.items()
    ]
    rows.append(SourceRow("all held-out text", None, 1.0 if held_out else None, scores.loss, scores.bits_per_byte))
    used = {name: share for name, share in trained.items() if share}
    if used and used.keys() <= scores.sources.keys():
        loss = sum(share * scores.sources[name][0] for name, share in used.items())
        rows.append(SourceRow("as mixed in training", 1.0, None, loss, math.nan))
    return rows


def _is_whole(run: Record, max_tokens: int) -> bool:
    held_out = sum(_tokens(run, "val").values())
    return not max_tokens or 0 < held_out <= max_tokens


def _tokens(run: Record, split: str) -> dict[str, int]:
    """Returns the tokens of each source of a split, as far as the shards are there."""
    counts = run.data.counts["splits"].get(split, {}) if run.data else {}
    return {name: count["tokens"] for name, count in counts.items() if count["tokens"]}


def _shares(run: Record, split: str) -> dict[str, float]:
    """Returns each source's share: of the training examples by the mixture's weights, else of the split's tokens."""
    weights: Mapping[str, float] = _tokens(run, split)
    if split == "train" and (given := run.facts.get("shares")):
        weights = {name: given.get(name, 0.0) for name in weights}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _scores(step: int, values: Mapping[str, Any], over: str) -> Scores:
    def known(key: str) -> float:
        value = values.get(key)
        return math.nan if value is None else value

    by_source = {name: (known(f"val/{name}/loss"), known(f"val/{name}/bits_per_byte")) for name in _told_apart(values)}
    return Scores(step, known("val/loss"), known("val/bits_per_byte"), over, by_source)


def _told_apart(keys: Iterable[str]) -> list[str]:
    return [found[1] for key in keys if (found := _LOSS_OF_A_SOURCE.fullmatch(key))]
