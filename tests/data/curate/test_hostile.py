"""Input that is damaged, or meant to do damage, through the whole of `lm curate`: it ends, and all is counted."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lm import cli
from lm.data.synthetic.crawl import write_crawl

ROOT = Path(__file__).parents[3]
STEPS = ("extract", "repair", "gopher_quality", "gopher_repetition", "c4", "pii", "secrets", "dedup")
PROSE = (
    "The ferry leaves the old harbour at nine in the morning, and it returns when the tide allows. Most of the people "
    "who take it have gardens on the island. They bring back apples, honey and the news of the day. In winter there "
    "is one boat a week, and the captain waits for nobody. My grandfather used to say that the sea teaches patience "
    "to those that the land could not teach. He kept a book in which he wrote the wind of every day of his life."
)


def arguments(source: Path, output: Path, *extra: str) -> list[str]:
    return [
        *("curate", "--config=configs/curate/web.py:smoke", f"--config.input={source}", f"--config.output={output}"),
        *(f"--config.steps={STEPS!r}", "--config.min_kept=0", "--config.workers=1"),
        *("--config.dedup.prefer=", *extra),
    ]


def sums(output: Path) -> dict[str, Any]:
    """Returns the manifest's counts, whose sums agree."""
    counts = json.loads((output / "manifest.json").read_text())["counts"]
    total = counts["records"]
    assert total["input"] == total["kept"] + total["dropped"] + total["quarantined"]
    return counts


def page(n: int) -> bytes:
    """Returns a page that is kept, of other words for another n."""
    text = " ".join(word if at % 3 else chr(97 + n) + word for at, word in enumerate(PROSE.split()))
    return f"<html><body><article><p>{text}</p></article></body></html>".encode()


def test_damaged_archives(tmp_path: Path) -> None:
    """One is cut off, one has zeros in its midst; what lies before the damage is kept, the damage is one record."""
    write_crawl(tmp_path / "made", seed=5, n_pages=40, files=3)
    source = tmp_path / "in"
    source.mkdir()
    whole, cut, holed = (path.read_bytes() for path in sorted((tmp_path / "made").rglob("*.gz")))
    (source / "whole.warc.gz").write_bytes(whole)
    (source / "cut.warc.gz").write_bytes(cut[: len(cut) * 2 // 3])
    middle = len(holed) // 2
    (source / "holed.warc.gz").write_bytes(holed[:middle] + bytes(500) + holed[middle + 500 :])
    (source / "empty.warc.gz").write_bytes(b"")
    (source / "noise.warc.gz").write_bytes(os.urandom(50_000))
    assert cli.main(arguments(source, tmp_path / "out")) == 0
    counts = sums(tmp_path / "out")
    assert counts["records"]["kept"] > 5
    assert counts["records"]["quarantined"] >= 3, counts


def test_pages_that_are_meant_to_hurt(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    pages = {
        "good": page(0),
        "deep": b"<div>" * 10_000 + page(1) + b"</div>" * 10_000,
        "unclosed": page(2) + b"<b><i><a href=x><p><td>" * 5_000,
        "nul": page(3).replace(b"<p>", b"<p>\0\0").replace(b"the", b"t\0he"),
        "latin-1": "<p>Le café de la gare à côté du théâtre, où l'été s'achève déjà.</p>".encode("latin-1") * 20,
        "lies": b'<meta charset="utf-16">' + page(4),
        "surrogates": b"<p>&#xD800; &#xDFFF; &#x110000; &#0; &#99999999999;</p>" + page(5),
        "attributes": b"<p " + b" ".join(b"a%d=b" % n for n in range(20_000)) + b">" + page(6),
        "comment": b"<!--" + b"-" * 500_000 + page(7),
        "one word": b"<p>" + b"x" * 1_000_000,
        "one line": b"<p>" + b"the sea and " * 80_000,
        "entities": b"<p>" + b"&amp;" * 200_000,
        "empty": b"",
        "utf-16": page(8).decode().encode("utf-16"),
    }
    for name, html in pages.items():
        (source / f"{name}.html").write_bytes(html)
    assert cli.main(arguments(source, tmp_path / "out")) == 0
    counts = sums(tmp_path / "out")
    assert counts["records"]["input"] == len(pages)
    assert counts["records"]["kept"] >= 5, counts


def test_lines_that_are_no_records(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    good = json.dumps({"id": "same", "text": PROSE}).encode()
    wrong = [
        b'{"text": "cut of',
        b'{"text": 5}',
        b'{"body": "no text"}',
        b"[1, 2]",
        b"null",
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud800"}',
        b"[" * 5_000,
        b"\0\0\0",
    ]
    other = json.dumps({"id": "same", "text": " ".join(reversed(PROSE.split("."))) + " So it ends."}).encode()
    lines = [good, *wrong, good, other, b'{"text": "%s", "n": 1e999}' % (b"\\u0000" * 2_000)]
    (source / "a.jsonl").write_bytes(b"\n".join(lines))
    (source / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines))[:-20])
    assert cli.main(arguments(source, tmp_path / "out")) == 0
    counts = sums(tmp_path / "out")
    assert counts["records"]["quarantined"] >= len(wrong)
    assert counts["dropped_by_rule"]["dedup.exact"] >= 2  # of the same id, too


def measured(command: list[str]) -> tuple[int, int]:
    """Runs a command line, which must succeed, and returns the most memory that it and its workers took, in MiB."""
    process = subprocess.Popen([sys.executable, "-m", "lm.cli", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss >> 10


@pytest.mark.slow
def test_a_line_of_200_mb_is_not_held(tmp_path: Path) -> None:
    """Beyond `read.max_record_bytes` a record is quarantined, and takes the memory of its beginning."""
    source = tmp_path / "in"
    source.mkdir()
    good = json.dumps({"text": PROSE}).encode() + b"\n"
    (source / "a.jsonl").write_bytes(good)
    assert (usual := measured(arguments(source, tmp_path / "small")))[0] == 0
    with (source / "a.jsonl").open("ab") as stream:
        stream.write(b'{"text": "')
        for _ in range(200):
            stream.write(b"all the sea and " * (1 << 16))
        stream.write(b'"}\n' + good.replace(b"ferry", b"steamer"))
    assert (long := measured(arguments(source, tmp_path / "out")))[0] == 0
    counts = sums(tmp_path / "out")
    assert counts["records"]["input"] == 3
    assert counts["records"]["quarantined"] == 1
    assert long[1] - usual[1] < 200, (usual, long)


@pytest.mark.slow
def test_a_million_empty_records(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    with gzip.open(source / "a.jsonl.gz", "wb", 1) as stream:
        for _ in range(100):
            stream.write(b'{"text": ""}\n' * 10_000)
        stream.write(json.dumps({"text": PROSE}).encode())
    code, mib = measured(arguments(source, tmp_path / "out"))
    assert code == 0
    counts = sums(tmp_path / "out")
    assert counts["records"] == {"input": 1_000_001, "kept": 1, "dropped": 1_000_000, "quarantined": 0}
    assert mib < 1000
