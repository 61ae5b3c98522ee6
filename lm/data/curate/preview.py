"""What a job would do to a sample of its input: which rule would drop how much, with examples, and nothing written."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from lm.data.curate.document import Document, Dropped, Quarantined
from lm.data.curate.job import Job
from lm.data.curate.phases import SKIPPED, Outcome, apply, refuse_page
from lm.data.curate.read import File, read
from lm.data.curate.tally import Tally

_EXCERPT = 96


@dataclass
class Preview:
    """What was found in the sample: the tally, examples by rule, and the survivors."""

    tally: Tally = field(default_factory=Tally)
    examples: dict[str, list[tuple[Document, Dropped]]] = field(default_factory=dict)
    survivors: list[Document] = field(default_factory=list)


def sample(files: tuple[File, ...], job: Job, n: int) -> Iterator[Document | Quarantined]:
    """Yields about n records: as many from the beginning of each file, of files spread over the input."""
    chosen = files[:: max(1, len(files) // n)]
    each = -(-n // len(chosen))
    taken = (itertools.islice(read(file, job.options, job.source), each) for file in chosen)
    return itertools.islice(itertools.chain.from_iterable(taken), n)


def preview(files: tuple[File, ...], job: Job, *, n: int, n_examples: int) -> Preview:
    """Takes a sample through the job's steps."""
    found = Preview()
    keys = job.dedup.keys() if job.dedup else None
    survivors: list[Document] = []
    for record in sample(files, job, n):
        found.tally.records += 1
        result: Outcome = record
        if isinstance(record, Document):
            result = apply(job.before, record, found.tally)
        if isinstance(result, Quarantined):
            _put_aside(result, found)
        elif isinstance(result, tuple):
            _example(found, *result, n_examples)
        else:
            refuse_page(result)
            survivors.append(result)
            if keys is not None:
                keys.add(result)
    verdicts = job.dedup.among(keys) if job.dedup and keys is not None and survivors else None
    if job.dedup:
        kept = (document.text for index, document in enumerate(survivors) if verdicts and verdicts.of(index) is None)
        job.dedup.write_common(job.output, [job.dedup.count(kept)])
    for index, document in enumerate(survivors):
        if job.dedup:
            found.tally.reached["dedup"] += 1
        duplicate = verdicts.of(index) if verdicts else None
        result = (document, duplicate) if duplicate else apply(job.after, document, found.tally)
        if duplicate:
            found.tally.drop(duplicate)
        if isinstance(result, Quarantined):
            _put_aside(result, found)
        elif isinstance(result, tuple):
            _example(found, *result, n_examples)
        else:
            found.tally.keep(result)
            found.survivors.append(result)
    return found


def _put_aside(record: Quarantined, found: Preview) -> None:
    if record.reason.startswith(SKIPPED):
        found.tally.dropped["read.no_document"] += 1
    else:
        found.tally.quarantined[record.reason] += 1


def _example(found: Preview, document: Document, dropped: Dropped, n_examples: int) -> None:
    kept = found.examples.setdefault(dropped.rule, [])
    if len(kept) < n_examples:
        kept.append((document, dropped))


def describe(found: Preview) -> str:
    """Returns the table a dry run prints."""
    tally = found.tally
    quarantined = sum(tally.quarantined.values())
    dropped = sum(tally.dropped.values())
    lines = [
        f"{tally.records:,} records sampled: {tally.kept:,} kept, {dropped:,} dropped, {quarantined:,} quarantined",
        "",
    ]
    for rule, count in tally.dropped.most_common():
        lines.append(f"{rule:<40} {count:>7,}  {100 * count / tally.records:5.1f} %")
        for document, reason in found.examples.get(rule, []):
            lines.append(f"    {document.id}  {_reason(reason)}")
            lines.append(f"        {_excerpt(document.text or document.html.decode('utf-8', 'replace'))}")
    lines += _table("quarantined", tally.quarantined)
    lines += _table("changed by", tally.changed)
    lines += _table("replaced", tally.pii)
    lines += _table("language", Counter({name or "unknown": count for name, count in tally.languages.items()}))
    return "\n".join(lines)


def _reason(dropped: Dropped) -> str:
    value = f"{dropped.value:.4g}" if isinstance(dropped.value, float) else str(dropped.value)
    return value if dropped.threshold == "" else f"{value} against {dropped.threshold}"


def _excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _EXCERPT else flat[: _EXCERPT - 1] + "…"


def _table(title: str, counts: Counter[str]) -> list[str]:
    return [f"{title} {name:<{max(1, 39 - len(title))}} {count:>7,}" for name, count in counts.most_common()]
