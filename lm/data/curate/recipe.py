"""From a curation config to a job: its keys, what can be checked before any work, and the steps it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lm.common import manifest
from lm.common.errors import UserError
from lm.common.protocols import Scorer
from lm.data.curate import classify, duplicates, executors, steps
from lm.data.curate.decontaminate import Decontaminate, index_benchmarks
from lm.data.curate.document import Step
from lm.data.curate.duplicates import Dedup
from lm.data.curate.job import Job
from lm.data.curate.read import FORMATS, File, Options
from lm.data.curate.rules import DOMAINS

DECONTAMINATE, PERPLEXITY = "decontaminate", "perplexity"


def defaults() -> ConfigDict:
    """Returns every key of a curation config."""
    return ConfigDict(
        {
            "stage": "curate",
            "dry_run": False,  # show what each rule would do to a sample, and write nothing
            "input": "",  # a file, folder, glob or any URL that fsspec knows
            "output": "",  # the directory to write; --workdir says the same
            "source": "",  # what manifests call this text; "" is the input itself
            "steps": chain("web"),  # in their order; see the sections of the same names
            "read": {
                "format": "auto",  # by suffix; or one of the readers' names
                "text_key": "text",  # of JSONL and parquet
                "separator": "",  # cuts text files into documents
                "max_record_bytes": 64 << 20,  # a longer record is quarantined
            },
            **steps.defaults(),
            "dedup": duplicates.defaults(),
            **classify.defaults(),
            "perplexity": {
                "run": "",  # a run of `lm pretrain`, whose bits per byte of a text are its score
                "max": 0.0,  # drop what is above; 0 keeps everything and notes the score
            },
            "decontaminate": {
                "paths": (),  # benchmark files: GSM8K, HumanEval, ARC, MMLU as published, other JSON Lines, lines
                "keys": (),  # of the texts in JSON Lines of another layout
                "coverage": 0.6,  # share of an item's words that makes a leak
                "min_covered": 10,  # and at least so many words
                "action": "drop",  # or cut: only the passage goes
            },
            "min_kept": 0.02,  # share of the documents; less than that is an error
            "observed": 200,  # documents of a unit whose values the report's histograms show
            "sample": {"documents": 1000, "examples": 2},  # what a dry run reads, and shows of each rule
            **executors.defaults(),
        }
    )


def chain(domain: str) -> tuple[str, ...]:
    """Returns the steps for a kind of text: rules belong to a domain."""
    language = ("language",) if domain in ("web", "dialogue") else ()
    quality, judged = (("quality",), ("toxicity", "adult", "spam")) if domain == "web" else ((), ())
    # Quality stands before the pivot, as it says which of two copies stays.
    head = ("extract", "repair", *language, *DOMAINS[domain], "secrets", "pii", *quality)
    return (*head, steps.PIVOT, *judged, DECONTAMINATE)


def names() -> tuple[str, ...]:
    """Returns the name of every step there is."""
    return (*steps.kinds(), *classify.KINDS, PERPLEXITY, DECONTAMINATE)


def check(cfg: ConfigDict) -> None:
    """Refuses what can be known to be wrong before anything is read.

    Raises:
        UserError: an unknown step, or a value out of its range.
    """
    if not cfg.input:
        raise UserError("config.input is not set; give a file, folder or glob, such as --config.input=crawl/*.warc.gz")
    before, pivot, after = steps.split(cfg.steps, names())
    for name in (*before, *after):
        if name in steps.kinds():
            steps.build(name, cfg[name])
        elif name in classify.KINDS:
            classify.check(name, cfg[name])
        elif name == PERPLEXITY:
            _check_run(cfg[name].run)
    if pivot:
        Dedup.from_config(cfg.dedup)
        prefer = cfg.dedup.prefer
        if prefer and prefer not in before:
            raise UserError(f"config.dedup.prefer={prefer}: does not stand before dedup in config.steps; put it there")
    if cfg.read.format not in FORMATS:
        raise UserError(f"config.read.format={cfg.read.format}: unknown; one of {', '.join(FORMATS)}")
    if not 0 <= cfg.min_kept <= 1:
        raise UserError(f"config.min_kept={cfg.min_kept}: must be a share from 0 to 1")
    for key, value, least in (
        ("read.max_record_bytes", cfg.read.max_record_bytes, 1),
        ("observed", cfg.observed, 0),
        ("sample.documents", cfg.sample.documents, 1),
        ("sample.examples", cfg.sample.examples, 0),
    ):
        if value < least:
            raise UserError(f"config.{key}={value}: must be {least} or more")


def _check_run(run: str) -> None:
    if not run:
        raise UserError(
            "config.perplexity.run is not set; give a run of `lm pretrain`, or take perplexity out of steps"
        )
    if not (Path(run) / manifest.NAME).is_file():
        raise UserError(f"config.perplexity.run={run}: no finished run there; `lm pretrain` makes one")


def make_job(cfg: ConfigDict, output: Path, scorer: Scorer | None = None) -> Job:
    """Builds the job; models that the steps need are made or copied into `output` first.

    `scorer` is what the step `perplexity` asks.

    Raises:
        UserError: as `check`, and for models and benchmark files that are missing or unlike what they should be.
    """
    before, pivot, after = steps.split(cfg.steps, names())
    dedup = Dedup.from_config(cfg.dedup) if pivot else None
    chosen = [name for name in (*before, *after) if _is_on(name, cfg)]
    clear_of = _decontaminate(cfg[DECONTAMINATE]) if DECONTAMINATE in chosen else None  # what fails, before training

    def build(name: str) -> Step:
        if name in classify.KINDS:
            return classify.make(name, cfg[name], output)
        if name == PERPLEXITY:
            assert scorer is not None, "the stage hands in the scorer"
            return classify.Scored(name, scorer, cfg[name]["max"] or float("inf"))
        if name == DECONTAMINATE:
            assert clear_of is not None
            return clear_of
        return steps.build(name, cfg[name])

    common = dedup.common(output) if dedup else ()
    read = cfg.read
    return Job(
        output=output,
        source=cfg.source or cfg.input,
        options=Options(read.format, read.text_key, read.separator, read.max_record_bytes),
        before=tuple(build(name) for name in before if name in chosen),
        dedup=dedup,
        after=(*common, *(build(name) for name in after if name in chosen)),
        observed=cfg.observed,
    )


def _is_on(name: str, cfg: ConfigDict) -> bool:
    """Without benchmark files there is nothing to be kept clear of."""
    return name != DECONTAMINATE or bool(cfg[name].paths)


def _decontaminate(section: Any) -> Decontaminate:
    index = index_benchmarks([Path(path) for path in section.paths], keys=tuple(section["keys"]))
    return Decontaminate(index, section.coverage, section.min_covered, section.action)


def fingerprint(files: tuple[File, ...]) -> str:
    """Returns 16 hex digits that change when the input does, without reading it."""
    return manifest.fingerprint([[file.name, file.bytes, file.version] for file in files])


def fingerprints(cfg: ConfigDict) -> dict[str, str]:
    """Returns what else the output is made from: models and benchmark files."""
    found = {path: manifest.sha256_file(Path(path))[:16] for path in _existing(cfg[DECONTAMINATE].paths)}
    for kind in classify.KINDS:
        model = Path(cfg[kind].model)
        if cfg[kind].model and model.is_dir():
            found[kind] = manifest.fingerprint_stage(model)
        elif cfg[kind].model:
            found |= {str(path): manifest.sha256_file(Path(path))[:16] for path in _existing((cfg[kind].model,))}
    if PERPLEXITY in cfg.steps:
        found[PERPLEXITY] = manifest.fingerprint_stage(Path(cfg[PERPLEXITY].run))
    return found


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; give a local one")
    return tuple(paths)
