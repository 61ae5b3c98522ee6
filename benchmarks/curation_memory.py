"""Memory of `lm curate` against the size of its input: `python -m benchmarks.curation_memory [--pages=1500]`.

The same curation of a generated crawl of 1, 3 and 10 times as many files of the same size, with two workers. Shown are
the most memory that any one process took, and that all took together at one time, sampled twenty times a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lm.data.synthetic.crawl import write_crawl

FACTORS = (1, 3, 10)
FILES = 4
_EVERY_SECONDS = 0.05
_SKIP = ("toxicity", "adult", "spam", "quality", "decontaminate")  # which hold models of a fixed size


class Peak(NamedTuple):
    """MiB of one process, and of all at one time; seconds it took."""

    one: int
    together: int
    seconds: float


def resident(session: int) -> list[int]:
    """Returns the resident MiB of every process of a session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            pages = int((process / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found.append(pages >> 8)
    return found


def measure(command: list[str]) -> Peak:
    """Runs a command in a session of its own and watches what it takes."""
    start, one, together = time.monotonic(), 0, 0
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(_EVERY_SECONDS)
        taken = resident(process.pid) or [0]
        one, together = max(one, *taken), max(together, sum(taken))
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    return Peak(one, together, time.monotonic() - start)


def curate(source: Path, output: Path, backend: str) -> list[str]:
    """Returns the command that curates a folder."""
    from lm.data.curate import recipe

    steps = tuple(name for name in recipe.chain("web") if name not in _SKIP)
    return [
        *(sys.executable, "-m", "lm.cli", "curate", f"--input={source}", f"--output={output}", "--workers=2"),
        *(f"--steps={steps!r}", f"--dedup.backend={backend}"),
    ]


def main() -> None:
    """Prints one row for each size and backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1500, help="of the smallest input")
    pages = parser.parse_args().pages
    print(f"{'pages':>8}{'files':>7}{'backend':>11}{'one MiB':>9}{'all MiB':>9}{'pages/s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for factor in FACTORS:
            source = Path(folder) / str(factor)
            write_crawl(source, seed=0, n_pages=factor * pages, files=factor * FILES)
            for backend in ("memory", "datatrove"):
                peak = measure(curate(source / "crawl", Path(folder) / f"{factor}-{backend}", backend))
                row = f"{factor * pages:>8,}{factor * FILES:>7}{backend:>11}{peak.one:>9,}{peak.together:>9,}"
                print(f"{row}{factor * pages / peak.seconds:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
