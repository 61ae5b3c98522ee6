"""A small generated crawl, the curation of it as a command, and what it left as names and bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.data.synthetic.crawl import write_crawl

_STEPS = (
    *("extract", "repair", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"),
    *("secrets", "pii", "dedup", "decontaminate"),
)


class Curation:
    """The crawl's folders, arguments of `lm curate` for them, and what a curation left."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.crawl, self.benchmark = folder, folder / "crawl", folder / "benchmark.jsonl"

    def arguments(self, output: Path, *extra: str, steps: tuple[str, ...] = _STEPS) -> list[str]:
        """Returns the command line; without classifiers, which take seconds to train, unless `steps` names them."""
        return [
            *("curate", "--config=configs/curate/web.py:smoke", f"--config.input={self.crawl}"),
            *(f"--config.output={output}", f"--config.steps={steps!r}", "--config.workers=1"),
            f"--config.dedup.prefer={'quality' if 'quality' in steps[: steps.index('dedup')] else ''}",
            *(f"--config.decontaminate.paths=({str(self.benchmark)!r},)", *extra),
        ]

    @staticmethod
    def tree(folder: Path) -> dict[str, bytes]:
        """Returns the content of every file below a folder by its path, and empty bytes for folders."""
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
        return {name: path.read_bytes() if path.is_file() else b"" for name, path in paths.items()}


@pytest.fixture(scope="session")
def curation(tmp_path_factory: pytest.TempPathFactory) -> Curation:
    """A crawl of 200 pages in 8 files, and so 8 units of work."""
    folder = tmp_path_factory.mktemp("curation")
    write_crawl(folder, seed=3, n_pages=200, files=8)
    return Curation(folder)
