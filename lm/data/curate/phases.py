"""The passes of a curation job: prepare every unit, find duplicates among all of them, finish every unit.

prepare   a unit's records are read and go through the steps ahead of deduplication; those that stay are written
          beside the keys by which duplicates are found
dedup     the keys of all units are clustered, and each unit is told which of its documents survive
finish    the survivors go through the remaining steps and are written

Each leaves receipts; a unit with a receipt is not done again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.common.errors import UserError
from lm.data.curate import ledger
from lm.data.curate.document import Document, Dropped, Measuring, Quarantined, Step
from lm.data.curate.job import Job
from lm.data.curate.ledger import Ledger, Receipts
from lm.data.curate.output import DOCUMENTS, DROPPED, QUARANTINED
from lm.data.curate.progress import Beat
from lm.data.curate.read import read
from lm.data.curate.tally import Tally

SKIPPED = "skipped: "  # how the reason of a record begins that is no document by nature
FAILED = "failed in "  # and of one that a step could not do
_FAILED_BYTES = 1 << 16
_OBSERVED_OF = 8  # one document in so many is a candidate for observation, chosen by its id
_OBSERVED = 20_000  # documents of all units together, at most (about)
_SAMPLED = 64  # units of which documents are shown before and after, at most (about)
_SAMPLES = 2  # such documents of a unit
_SAMPLE_CHARACTERS = 1500


Outcome = Document | tuple[Document, Dropped] | Quarantined


def apply(steps: Sequence[Step], document: Document, tally: Tally, *, observe: bool = False) -> Outcome:
    """Takes a document through steps; returns what it became, what it was when it was dropped and why, or quarantined.

    A document that a step fails on is put aside with the step's name: one page no step was made for must not stop a
    crawl. With `observe`, the values that each rule finds are noted as it comes to them.

    Raises:
        UserError: a step cannot work at all, whatever the document.
    """
    for step in steps:
        tally.reached[step.name] += 1
        try:
            if observe and isinstance(step, Measuring):
                tally.observe(step.measure(document))
            result = step(document)
        except UserError:
            raise
        except Exception as error:
            reason = f"{FAILED}{step.name}: {type(error).__name__}"
            return Quarantined(document.id, reason, (document.html or document.text.encode())[:_FAILED_BYTES])
        if isinstance(result, Dropped):
            tally.drop(result)
            return document, result
        if result.text is not document.text:
            tally.changed[step.name] += 1
        document = result
    return document


@dataclass(frozen=True)
class Prepare:
    """The first pass: `unit` files → documents that passed the steps ahead of deduplication, and their keys."""

    job: Job

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        receipts = Receipts(self.job.output, "prepare")
        if receipts.find(rank):
            return
        tally, beat = Tally(), Beat(self.job.output, "prepare")
        stem = f"{rank:05d}"
        most = min(self.job.observed, -(-_OBSERVED // world_size))
        samples = 0 if rank % -(-world_size // _SAMPLED) else _SAMPLES
        with _ledgers(
            prepared=(self.job.output / "work" / "prepared", stem, 1),
            dropped=(self.job.output / DROPPED, f"{stem}a"),
            quarantined=(self.job.output / QUARANTINED, stem),
        ) as ledgers:
            keys = self.job.dedup.keys() if self.job.dedup else None
            for record in self._records(rank):
                tally.records += 1
                outcome: Outcome = record
                if isinstance(record, Document):
                    observed = _is_observed(record, tally, most)
                    outcome = apply(self.job.before, record, tally, observe=observed)
                    if observed and len(tally.samples) < samples and not isinstance(outcome, Quarantined):
                        tally.samples.append(_sample(record, outcome))
                if isinstance(outcome, Quarantined):
                    put_aside(outcome, ledgers, tally)
                elif isinstance(outcome, tuple):
                    ledgers["dropped"].write(drop_record(*outcome))
                else:
                    refuse_page(outcome)
                    tally.kept += 1
                    ledgers["prepared"].write(record_of(outcome))
                    if keys is not None:
                        keys.add(outcome)
                beat(tally.records, tally.kept)
            files: dict[str, Path | None] = {name: written.close() for name, written in ledgers.items()}
        if keys is not None:
            files |= keys.write(self.job.output / "work" / "prepared", stem)
        receipts.write(rank, files, tally.to_dict())
        beat.finish(tally.records, tally.kept, sum(file.bytes for file in self.job.unit(rank)))

    def _records(self, rank: int) -> Iterator[Document | Quarantined]:
        for file in self.job.unit(rank):
            yield from read(file, self.job.options, self.job.source)


@dataclass(frozen=True)
class Finish:
    """The last pass: prepared documents → survivors that passed the remaining steps."""

    job: Job

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        receipts = Receipts(self.job.output, "finish")
        if receipts.find(rank):
            return
        tally, beat = Tally(), Beat(self.job.output, "finish")
        stem = f"{rank:05d}"
        most = min(self.job.observed, -(-_OBSERVED // world_size))
        with _ledgers(
            documents=(self.job.output / DOCUMENTS, stem),
            dropped=(self.job.output / DROPPED, f"{stem}b"),
            quarantined=(self.job.output / QUARANTINED, f"{stem}b"),
        ) as ledgers:
            for document, duplicate in self._prepared(rank):
                tally.records += 1
                outcome: Outcome
                if self.job.dedup:
                    tally.reached["dedup"] += 1
                if duplicate is not None:
                    tally.drop(duplicate)
                    outcome = document, duplicate
                else:
                    outcome = apply(self.job.after, document, tally, observe=_is_observed(document, tally, most))
                if isinstance(outcome, Quarantined):
                    put_aside(outcome, ledgers, tally)
                elif isinstance(outcome, tuple):
                    ledgers["dropped"].write(drop_record(*outcome))
                else:
                    tally.keep(outcome)
                    ledgers["documents"].write(record_of(outcome))
                beat(tally.records, tally.kept)
            files = {name: written.close() for name, written in ledgers.items()}
        receipts.write(rank, files, tally.to_dict())
        beat.finish(tally.records, tally.kept, tally.records)

    def _prepared(self, rank: int) -> Iterator[tuple[Document, Dropped | None]]:
        entry = Receipts(self.job.output, "prepare").get(rank).files.get("prepared")
        if entry is None:
            return
        verdicts = self.job.dedup.verdicts(self.job.output, rank) if self.job.dedup else None
        for index, record in enumerate(ledger.read(self.job.output / entry.name)):
            document = Document(record["id"], record["text"], self.job.source, record["meta"])
            yield document, None if verdicts is None else verdicts.of(index)


def _sample(record: Document, result: Document | tuple[Document, Dropped]) -> dict[str, str]:
    """Returns a document as it was read, and as it was kept, or the rule that dropped it."""
    before = (record.html.decode("utf-8", "replace") or record.text)[:_SAMPLE_CHARACTERS]
    if isinstance(result, tuple):
        return {"id": record.id, "before": before, "after": "", "rule": result[1].rule}
    return {"id": record.id, "before": before, "after": result.text[:_SAMPLE_CHARACTERS], "rule": ""}


def put_aside(record: Quarantined, ledgers: Mapping[str, Ledger], tally: Tally) -> None:
    """Writes a record that is no document where it belongs, and counts it."""
    if record.reason.startswith(SKIPPED):
        what = record.reason.removeprefix(SKIPPED)
        tally.dropped["read.no_document"] += 1
        ledgers["dropped"].write({"id": record.id, "rule": "read.no_document", "value": what, "threshold": ""})
        return
    tally.quarantined[record.reason] += 1
    raw = base64.b64encode(record.raw).decode()
    ledgers["quarantined"].write({"id": record.id, "reason": record.reason, "raw_base64": raw})


def _is_observed(document: Document, tally: Tally, most: int) -> bool:
    """Says whether a document is among those whose values are noted, which its id decides."""
    if zlib.crc32(document.id.encode()) % _OBSERVED_OF or tally.watched >= most:
        return False
    tally.watched += 1
    return True


def refuse_page(document: Document) -> None:
    """Raises UserError for a page whose text nothing has extracted."""
    if document.html:
        raise UserError(
            f"{document.id}: a page of HTML, and config.steps does not extract its text; begin with extract"
        )


def record_of(document: Document) -> dict[str, Any]:
    """Returns the line that a kept document is written as."""
    return {"id": document.id, "text": document.text, "meta": dict(document.meta)}


def drop_record(document: Document, dropped: Dropped) -> dict[str, Any]:
    """Returns the line that a dropped document is written as: why, and all of it."""
    return {
        "id": document.id,
        "rule": dropped.rule,
        "value": dropped.value,
        "threshold": dropped.threshold,
        "text": document.text or document.html.decode("utf-8", "replace"),
        "meta": dict(document.meta),
    }


@contextmanager
def _ledgers(**places: tuple[Any, ...]) -> Iterator[dict[str, Ledger]]:
    """Opens ledgers by name, and removes what they hold if the work stops in between."""
    ledgers = {name: Ledger(*place) for name, place in places.items()}
    try:
        yield ledgers
    except BaseException:
        for opened in ledgers.values():
            opened.abandon()
        raise
