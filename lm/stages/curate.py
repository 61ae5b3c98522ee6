"""Cleans raw text for training: lm curate --config=configs/curate/web.py --config.input=CRAWL --config.output=DIR

Extraction, rules, PII, language, deduplication, classifiers and decontamination, in the order of config.steps. Every
record of the input is kept, dropped by a named rule or quarantined with a reason, and counted. The same command
continues a stopped job; --config.dry_run=True says what each rule would do to a sample first.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from lm.stages import required_workdir

if TYPE_CHECKING:
    from lm.common.protocols import Scorer
    from lm.data.curate.executors import Phase
    from lm.data.curate.job import Job
    from lm.data.curate.read import File

# Where the work is done and how it is watched; what comes out does not depend on it.
FREE_KEYS = ("dry_run", "workers", "executor", "slurm.", "sample.", "output", "min_kept")


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    from lm.data.curate import recipe

    return recipe.defaults()


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Curates the input into the output directory, or says what would be done."""
    from lm.common import manifest
    from lm.data.curate import claim, executors, recipe, seal
    from lm.data.curate.read import list_files

    output = required_workdir(Path(cfg.output) if cfg.output else workdir)
    executors.check(cfg)
    recipe.check(cfg)
    files = list_files(cfg.input)
    claim.check_apart(output, cfg.input, files)
    if cfg.dry_run:
        _preview(cfg, files, output)
        return
    config = _identity(cfg)
    inputs = {"input": recipe.fingerprint(files), **recipe.fingerprints(cfg)}
    if manifest.find_same(output, seal.STAGE, config=config, inputs=inputs) is None:
        claim.check(output, config, inputs)
        with claim.locked(output), _sigterm_interrupts():
            if manifest.find(output, seal.STAGE) is None:  # else another process has ended meanwhile
                job = recipe.make_job(cfg, output.absolute(), _scorer(cfg))
                claim.claim(output, config, inputs)
                if not _execute(cfg, job, files, config, inputs):
                    (output / claim.QUEUED).touch()
                    print(f"{output}: queued; `squeue` shows the jobs, the last of which writes {manifest.NAME}")
                    return
    _tidy(output)
    print(_summary(output))


def _scorer(cfg: ConfigDict) -> Scorer | None:
    from lm.data.curate.recipe import PERPLEXITY

    if PERPLEXITY not in cfg.steps:
        return None
    from lm.evals.scorer import BitsPerByte

    return BitsPerByte(cfg[PERPLEXITY].run)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Makes SIGTERM stop the work as Ctrl-C does: workers end, and half-written files go."""
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _identity(cfg: ConfigDict) -> dict[str, Any]:
    """Returns the part of the config that says what comes out."""
    from lm.common import config as configs

    return {key: value for key, value in configs.flatten(configs.to_dict(cfg)) if not key.startswith(FREE_KEYS)}


def _execute(
    cfg: ConfigDict, job: Job, files: tuple[File, ...], config: Mapping[str, Any], inputs: Mapping[str, str]
) -> bool:
    from lm.data.curate import executors, progress
    from lm.data.curate.executors import Phase
    from lm.data.curate.phases import Finish, Prepare

    n_units = job.write_units(files)
    progress.clear(job.output)
    phases = [
        Phase("prepare", Prepare(job), n_units),
        *(job.dedup.phases(job.output, n_units) if job.dedup else ()),
        Phase("finish", Finish(job), n_units),
        Phase("seal", Seal(job, n_units, dict(config), dict(inputs), cfg.min_kept), 1),
    ]
    size = sum(file.bytes for file in files)
    logs = job.output / ("logs" if cfg.executor == "slurm" else "work/logs")  # Slurm's jobs write there to the last

    @contextmanager
    def watch(phase: Phase) -> Iterator[None]:
        with _watched(phase, job, n_units, size):
            yield

    return executors.run(phases, cfg, logs, watch)


@contextmanager
def _watched(phase: Phase, job: Job, n_units: int, size: int) -> Iterator[None]:
    """Shows how far a phase is: documents a second, share kept, time left."""
    from lm.common.progress import Progress, quantity
    from lm.data.curate import progress
    from lm.data.curate.executors import Watch
    from lm.data.curate.ledger import Receipts

    if phase.name not in ("prepare", "finish"):
        print(f"{phase.name} …", flush=True)
        yield
        return
    receipts = Receipts(job.output, phase.name)
    done = [unit for unit in range(n_units) if receipts.find(unit)]
    if done:
        print(f"{phase.name}: {len(done)} of {n_units} units are done already")
    if phase.name == "prepare":
        total, unit = size - sum(file.bytes for rank in done for file in job.unit(rank)), "B"
    else:
        first = Receipts(job.output, "prepare")
        total = sum(first.get(rank).counts["kept"] for rank in range(n_units) if rank not in set(done))
        unit = "documents"
    start = time.monotonic()
    with Progress(phase.name, total, unit) as bar:

        def look() -> None:
            sums = progress.total(job.output, phase.name)
            rate = sums["records"] / max(time.monotonic() - start, 1e-9)
            share = 100 * sums["kept"] / max(sums["records"], 1)
            bar.advance(
                sums["bytes"] - bar.done,
                f"{quantity(sums['records'])} records, {quantity(rate)}/s, {share:.0f} % kept",
            )

        with Watch(look):
            yield


@dataclass(frozen=True)
class Seal:
    """The last phase: manifest and report."""

    job: Job
    n_units: int
    config: dict[str, Any]
    inputs: dict[str, str]
    min_kept: float

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        from lm.data.curate import seal

        seal.seal(self.job, self.n_units, config=self.config, inputs=self.inputs, min_kept=self.min_kept)
        _tidy(self.job.output)


def _tidy(output: Path) -> None:
    """Draws the report of a finished curation, unless it is there, and clears what the work has left."""
    from lm.study import curation

    if not (output / curation.REPORT).is_file():
        curation.write(output)
    shutil.rmtree(output / "work", ignore_errors=True)


def _preview(cfg: ConfigDict, files: tuple[File, ...], output: Path) -> None:
    import tempfile

    from lm.common.progress import quantity
    from lm.data.curate import recipe
    from lm.data.curate.preview import describe, preview

    with tempfile.TemporaryDirectory() as scratch:  # for models that have to be trained first
        job = recipe.make_job(cfg, Path(scratch), _scorer(cfg))
        found = preview(files, job, n=cfg.sample.documents, n_examples=cfg.sample.examples)
    size = sum(file.bytes for file in files)
    print(f"{cfg.input}: {len(files):,} files, {quantity(size)}B, into {output}\n\n{describe(found)}")


def _summary(output: Path) -> str:
    from lm.common import manifest
    from lm.common.progress import quantity
    from lm.study.curation import REPORT

    counts = manifest.read(output).counts
    records = counts["records"]
    lines = [
        f"{output}: {records['input']:,} records: {records['kept']:,} kept ({quantity(counts['words'])} words), "
        f"{records['dropped']:,} dropped, {records['quarantined']:,} quarantined"
    ]
    by_rule = sorted(counts["dropped_by_rule"].items(), key=lambda item: -item[1])
    lines += [f"  {rule:<40} {count:>9,}" for rule, count in by_rule]
    lines += [f"  quarantined: {reason:<27} {count:>9,}" for reason, count in counts["quarantined_by_reason"].items()]
    return "\n".join([*lines, f"{output / REPORT}: funnel, limits and what they cut, examples"])
