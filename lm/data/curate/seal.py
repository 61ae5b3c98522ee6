"""Closes a curation job: sums that must agree, a share that must be kept, and the manifest, written last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.manifest import Manifest
from lm.data.curate.job import Job
from lm.data.curate.ledger import Receipts
from lm.data.curate.output import DOCUMENTS, DROPPED, FACTS, QUARANTINED, STAGE, UNITS
from lm.data.curate.phases import FAILED
from lm.data.curate.tally import Tally

_NAMED_RULES = 3
_FAILURES, _FAILED_SHARE = 10, 0.01  # documents that a step may fail on


def seal(job: Job, n_units: int, *, config: Mapping[str, Any], inputs: Mapping[str, str], min_kept: float) -> Manifest:
    """Writes `facts.json` and the manifest of a job whose units are all finished.

    Raises:
        UserError: less than `min_kept` of the documents was kept; no manifest is written then.
    """
    first = [Receipts(job.output, "prepare").get(unit) for unit in range(n_units)]
    last = [Receipts(job.output, "finish").get(unit) for unit in range(n_units)]
    before, after = (Tally.sum(receipt.counts for receipt in receipts) for receipts in (first, last))
    counts = _counts(before, after)
    _check_share(job, counts, min_kept)
    facts = {
        "prepare": before.to_dict(),
        "finish": after.to_dict(),
        "steps": [step.name for step in job.before],
        "steps_after": [step.name for step in job.after],
        "dedup": job.dedup is not None,
    }
    manifest.write_atomic(job.output / FACTS, json.dumps(facts) + "\n")
    names = [[file.name for file in job.unit(unit)] for unit in range(n_units)]
    manifest.write_atomic(job.output / UNITS, json.dumps(names) + "\n")
    folders = (DOCUMENTS, DROPPED, QUARANTINED)
    files = {
        job.output / entry.name
        for receipt in (*first, *last)
        for role, entry in receipt.files.items()
        if role in folders
    }
    for folder in folders:  # what killed attempts left
        for path in (job.output / folder).glob("*"):
            if path not in files:
                path.unlink()
    for name in (FACTS, UNITS, manifest.NAME):
        for path in job.output.glob(f"{name}.*.tmp"):
            path.unlink()
    return manifest.write(
        job.output,
        stage=STAGE,
        config=config,
        inputs=inputs,
        counts=counts,
        files=[*files, *_models(job.output), job.output / FACTS, job.output / UNITS],
    )


def _models(output: Path) -> Iterator[Path]:
    """Yields the files of the models that were trained or copied for the job."""
    for path in (output / "models").glob(f"*/{manifest.NAME}"):
        yield path
        yield from (path.parent / entry.name for entry in manifest.read(path.parent).files)


def _counts(before: Tally, after: Tally) -> dict[str, Any]:
    dropped = before.dropped + after.dropped
    quarantined = before.quarantined + after.quarantined
    records = {
        "input": before.records,
        "kept": after.kept,
        "dropped": sum(dropped.values()),
        "quarantined": sum(quarantined.values()),
    }
    assert records["input"] == records["kept"] + records["dropped"] + records["quarantined"], records
    assert before.kept == after.records, "a document was lost between the passes"
    return {
        "records": records,
        "dropped_by_rule": dict(sorted(dropped.items())),
        "quarantined_by_reason": dict(sorted(quarantined.items())),
        "pii": dict(sorted(after.pii.items())),
        "languages": dict(sorted(after.languages.items())),
        "words": after.words,
        "bytes": after.bytes,
    }


def _check_share(job: Job, counts: Mapping[str, Any], min_kept: float) -> None:
    """Refuses an output of (nearly) nothing, or a step that failed often: mistakes rather than a crawl so bad."""
    records = counts["records"]
    documents = records["input"] - counts["dropped_by_rule"].get("read.no_document", 0)
    for reason, count in counts["quarantined_by_reason"].items():
        if reason.startswith(FAILED) and count > max(_FAILURES, _FAILED_SHARE * documents):
            raise UserError(
                f"{job.output}: {count:,} of {documents:,} documents {reason}; leave that step out, or mend it"
            )
    if records["kept"] > 0 and records["kept"] >= min_kept * documents:
        return
    reasons = {**counts["dropped_by_rule"], **counts["quarantined_by_reason"]}
    reasons.pop("read.no_document", None)
    worst = sorted(reasons.items(), key=lambda item: -item[1])[:_NAMED_RULES]
    named = ", ".join(f"{rule} {count:,}" for rule, count in worst) or "nothing but records that are no documents"
    raise UserError(
        f"{job.output}: {records['kept']:,} of {documents:,} documents kept, less than config.min_kept={min_kept:g} "
        f"({named}); look with --config.dry_run=True, and change those rules or config.min_kept"
    )
