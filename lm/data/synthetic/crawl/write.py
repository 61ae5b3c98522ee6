"""Writes a generated crawl to disk: WARC files of two snapshots, and beside them the truth and the benchmark."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lm.data.synthetic.crawl import truth
from lm.data.synthetic.crawl.crawl import Crawl, Item, Response
from lm.data.synthetic.crawl.plan import SHARES
from lm.data.synthetic.crawl.truth import Page, Truth
from lm.data.synthetic.crawl.warc import Writer, http_response

_SNAPSHOTS = (("CC-MAIN-2026-04", datetime(2026, 1, 19)), ("CC-MAIN-2026-08", datetime(2026, 2, 16)))
_SECONDS_PER_PAGE = 2


class _File(NamedTuple):
    name: str
    started: datetime
    writer: Writer


def write_crawl(
    directory: str | Path,
    seed: int,
    n_pages: int,
    files: int = 4,
    shares: Mapping[str, float] = SHARES,
    benchmark: Sequence[Item] | None = None,
) -> Truth:
    """Writes `crawl/CC-MAIN-…/….warc.gz`, `truth.jsonl` and `benchmark.jsonl` (as GSM8K is published).

    The bytes follow from the arguments. Pages go to the files in turn; the first half of the files is one snapshot, the
    second half another.

    Raises:
        ValueError: shares that make no crawl (see `plan`).
    """
    crawl = Crawl(seed, n_pages, shares, benchmark)
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    (root / "benchmark.jsonl").write_text(
        "".join(
            json.dumps({"question": item.question, "answer": f"#### {item.answer}"}) + "\n" for item in crawl.benchmark
        ),
        encoding="utf-8",
    )
    ids = random.Random(f"record ids of crawl {seed}")
    pages: list[Page] = []
    with ExitStack() as stack:
        writers = [_file(stack, root / "crawl", ids, number, files) for number in range(files)]
        for number, response in enumerate(crawl):
            page = _written(response, number // files, writers[number % files], ids)
            original = crawl.plan[number].original
            pages.append(replace(page, cluster=pages[original].id) if original >= 0 else page)
    originals = {page.cluster for page in pages}
    truth.save(
        root / "truth.jsonl", (replace(page, cluster=page.id) if page.id in originals else page for page in pages)
    )
    return truth.load(root)


def _file(stack: ExitStack, root: Path, ids: random.Random, number: int, files: int) -> _File:
    snapshot, started = _SNAPSHOTS[len(_SNAPSHOTS) * number // files]
    name = f"CC-MAIN-{started:%Y%m%d%H%M%S}-{number:05d}.warc.gz"
    (root / snapshot).mkdir(parents=True, exist_ok=True)
    stream = stack.enter_context((root / snapshot / name).open("wb"))
    return _File(f"{snapshot}/{name}", started, Writer(stream, name, snapshot, _identity(ids), _stamp(started)))


def _written(response: Response, position: int, file: _File, ids: random.Random) -> Page:
    """Writes a request and its response, and returns the page with its ids."""
    date = _stamp(file.started + timedelta(seconds=_SECONDS_PER_PAGE * (position + 1)))
    asked, answered = _identity(ids), _identity(ids)
    address = urlsplit(response.url)
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: generated\r\n\r\n".encode()
    file.writer.request(response.url, date, asked, answered, request)
    head = http_response(response.status, response.headers, response.body)
    index = file.writer.response(response.url, date, answered, asked, head, response.body)
    return replace(response.page, id=f"{file.name}#{index}", record=answered)


def _identity(ids: random.Random) -> str:
    return f"<urn:uuid:{uuid.UUID(int=ids.getrandbits(128), version=4)}>"


def _stamp(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"
