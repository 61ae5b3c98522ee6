"""Documents and megabytes a second of curation on one core: `python -m benchmarks.curation [--documents=2000]`.

First the chain for the web, over a generated crawl, step by step: what each takes in its place, where the first to ask
for a document's words splits them for those behind it. Then extraction beside other libraries. Last a chain of
published rules from JSON Lines to JSON Lines, beside the same chain of datatrove's own blocks, given its default words
(spaCy's, where that is installed) and given ours.

All figures are of CPU time. The chains that are compared take turns over the same files, each time in a process forked
from this one after all are warm, so that none finds words that another has split; a ratio is of two runs on one file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lm.data.curate import recipe
from lm.data.curate.document import Document, Dropped, Step
from lm.data.curate.executors import Phase
from lm.data.curate.extract import Extract
from lm.data.curate.job import Job
from lm.data.curate.ledger import Receipts
from lm.data.curate.phases import Finish, Prepare, apply
from lm.data.curate.pii import RemovePII
from lm.data.curate.read import Options, list_files, read
from lm.data.curate.rules import C4, FineWeb, GopherQuality, GopherRepetition
from lm.data.curate.tally import Tally
from lm.data.curate.words import datatrove_tokenizer
from lm.data.synthetic.crawl import prose, write_crawl
from lm.data.synthetic.grammar import Cast
from lm.data.synthetic.world import World

RARE = 0.05  # share of a document's words that stand in no other, about that of English text
WARM_UP = 100  # documents
EXTRACTED = 300  # pages given to each extractor, as some are slow
MINE = "lm"

Chain = Callable[[Path, Path], int]


class Spent(NamedTuple):
    """CPU seconds, and the documents and bytes that they were spent on."""

    seconds: float
    documents: int
    bytes: int

    def show(self, name: str) -> None:
        """Prints a row: name, documents, documents and megabytes a second, microseconds a document."""
        rate, megabytes = self.documents / self.seconds, self.bytes / self.seconds / 1e6
        print(
            f"{name:<32} {self.documents:>6} {rate:>9,.0f}/s {megabytes:>8.2f} MB/s {1e6 / rate:>8.0f} µs", flush=True
        )


@dataclass
class Timed:
    """A step that knows what it has taken so far."""

    step: Step
    seconds: float = 0.0
    documents: int = 0
    bytes: int = 0

    @property
    def name(self) -> str:
        return self.step.name

    def __call__(self, document: Document) -> Document | Dropped:
        start = time.process_time()
        result = self.step(document)
        self.seconds += time.process_time() - start
        self.documents += 1
        self.bytes += len(document.html) or len(document.text.encode())
        return result

    def show(self) -> None:
        """Prints its row."""
        Spent(self.seconds, self.documents, self.bytes).show(self.name)


def write_documents(path: Path, documents: int, seed: int) -> None:
    """Writes documents of 2 to 3 kB in paragraphs, whose vocabulary grows with their number as that of English does."""
    cast = Cast(random.Random(seed), World(0).entities("train"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(documents):
            text = "\n".join(_paragraph(cast) for _ in range(cast.number(5, 7)))
            record = {"id": str(number), "text": text, "url": f"https://pages.example/{number}"}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _paragraph(cast: Cast) -> str:
    words = " ".join(prose.sentences(cast, cast.number(3, 5))).split()
    return " ".join(_rare(cast) if word.isalpha() and cast.chance(RARE) else word for word in words)


def _rare(cast: Cast) -> str:
    word = "".join(cast.one("abcdefghiklmnoprstuvwy") for _ in range(cast.number(5, 10)))
    number = f"{cast.number(0, 10**6):,}"
    return cast.one((word, word.capitalize(), f"{word}'s", f"({word})", f"{word[:3]}-{word[3:]}", f"“{word}”", number))


def web_chain(folder: Path, pages: int) -> None:
    """Prints what each step of the chain for the web takes, and all of it, over a generated crawl."""
    write_crawl(folder / "in", seed=0, n_pages=pages)
    cfg = recipe.defaults()
    cfg.input, cfg.observed = str(folder / "in" / "crawl"), 0
    cfg.decontaminate.paths = (str(folder / "in" / "benchmark.jsonl"),)
    job = recipe.make_job(cfg, folder / "out")
    units = job.write_units(list_files(cfg.input))
    for document in islice(_documents(cfg.input), WARM_UP):
        apply((*job.before, *job.after), document, Tally())

    before, after = (tuple(map(Timed, steps)) for steps in (job.before, job.after))
    job = replace(job, before=before, after=after)
    reading = _reading(cfg.input)
    prepare = _seconds(lambda: _run(Phase("prepare", Prepare(job), units)))
    clusters = job.dedup.phases(job.output, units) if job.dedup else ()
    dedup = _seconds(lambda: _run(*clusters))
    finish = _seconds(lambda: _run(Phase("finish", Finish(job), units)))

    reading.show("read WARC")
    for step in before:
        step.show()
    keyed, kept = (_kept(job.output, phase, units) for phase in ("prepare", "finish"))
    others = reading.seconds + sum(step.seconds for step in before)
    keyed._replace(seconds=prepare - others).show("keys of duplicates, writing")
    keyed._replace(seconds=dedup).show("dedup")
    for step in after:
        step.show()
    kept._replace(seconds=finish - sum(step.seconds for step in after)).show("reading back, writing")
    reading._replace(seconds=prepare + dedup + finish).show("the chain for the web")


def extraction(folder: Path) -> None:
    """Prints pages a second of extraction, ours and that of two libraries, from the same generated pages."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    pages = list(islice(_documents(str(folder / "in" / "crawl")), EXTRACTED))
    size = sum(len(page.html) for page in pages)
    extract = Extract()
    runs: dict[str, Callable[[Document], Any]] = {
        "extract: lm": extract,
        "extract: Resiliparse": lambda page: extract_plain_text(
            page.html.decode("utf-8", "replace"), main_content=True
        ),
        "extract: trafilatura": lambda page: trafilatura.extract(page.html, include_comments=False),
    }
    for name, run in runs.items():
        run(pages[0])
        Spent(_seconds(lambda run=run: list(map(run, pages))), len(pages), size).show(name)  # type: ignore[misc]


def _run(*phases: Phase) -> None:
    for phase in phases:
        for task in range(phase.tasks):
            phase.run(None, task, phase.tasks)


def _documents(source: str) -> Iterator[Document]:
    for file in list_files(source):
        yield from (record for record in read(file, Options(), "") if isinstance(record, Document))


def _reading(source: str) -> Spent:
    found: list[Document] = []
    seconds = _seconds(lambda: found.extend(_documents(source)))
    return Spent(seconds, len(found), sum(len(document.html) or len(document.text.encode()) for document in found))


def _kept(output: Path, phase: str, units: int) -> Spent:
    counts = [Receipts(output, phase).get(unit).counts for unit in range(units)]
    return Spent(0.0, sum(count["kept"] for count in counts), sum(count["bytes"] for count in counts))


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def ours(source: Path, target: Path) -> int:
    """Takes a file through the chain of rules; returns how many documents stay."""
    steps = (GopherRepetition(), GopherQuality(), C4(), FineWeb(), RemovePII())
    job = Job(target, "pages", Options(), before=steps, dedup=None, after=(), observed=0)
    units = job.write_units(list_files(str(source)))
    Prepare(job)(None, 0, units)
    return _kept(target, "prepare", units).documents


def datatroves(source: Path, target: Path, language: Any) -> int:
    """Does the same with datatrove's blocks; `language` is a name it has a tokenizer for, or a tokenizer."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    blocks = (
        JsonlReader(str(source.parent), glob_pattern=source.name),
        GopherRepetitionFilter(language=language),
        GopherQualityFilter(language=language),
        C4QualityFilter(language=language),
        FineWebQualityFilter(language=language, char_duplicates_ratio=FineWeb().max_duplicate_line_characters),
        PIIFormatter(),
        JsonlWriter(str(target), compression="zstd"),
    )
    data: Any = None
    for block in blocks:
        data = block.run(data, 0, 1)
    return sum(1 for _ in data)


def rules_chain(folder: Path, documents: int, rounds: int) -> None:
    """Prints documents and megabytes a second of the chains, and the ratios of ours to datatrove's."""
    from datatrove.utils.text import Languages
    from loguru import logger

    logger.disable("datatrove")  # a line for each file read
    chains: dict[str, Chain] = {MINE: ours, "datatrove, our words": partial(datatroves, language=datatrove_tokenizer())}
    if find_spec("spacy"):
        chains["datatrove, spaCy's words"] = partial(datatroves, language=Languages.english)
    else:
        print("spaCy is not installed: datatrove's chain is not measured with its default words")
    write_documents(folder / "warm.jsonl", WARM_UP, seed=-1)
    for name, chain in chains.items():
        chain(folder / "warm.jsonl", folder / "warm" / name)
    for number in range(rounds):
        write_documents(folder / f"{number}.jsonl", documents // rounds, seed=number)
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in chains}
    for number in range(rounds):
        for name, chain in chains.items():
            found[name].append(_forked(chain, folder / f"{number}.jsonl", folder / str(number) / name))
    size = sum((folder / f"{number}.jsonl").stat().st_size for number in range(rounds))
    for name, runs in found.items():
        Spent(sum(seconds for seconds, _ in runs), rounds * (documents // rounds), size).show(name)
        print(f"    kept {sum(kept for _, kept in runs)}", end="")
        ratios = sorted(theirs / mine for (theirs, _), (mine, _) in zip(runs, found[MINE], strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {rounds} rounds"
        print("" if name == MINE else f"; lm is {statistics.median(ratios):.2f} times as fast ({spread})")


def _forked(chain: Chain, source: Path, target: Path) -> tuple[float, int]:
    """Returns the CPU seconds of a chain in a process of its own, and how many documents stay."""
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()

    def measure() -> None:
        start = time.process_time()
        kept = chain(source, target)
        found.put((time.process_time() - start, kept))

    process = context.Process(target=measure)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the chain ended with {process.exitcode}")
    return found.get()


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000, help="of JSON Lines; and half as many pages")
    parser.add_argument("--rounds", type=int, default=5, help="how often the chains take turns")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        web_chain(folder, options.documents // 2)
        extraction(folder)
        rules_chain(folder, options.documents, options.rounds)


if __name__ == "__main__":
    main()
