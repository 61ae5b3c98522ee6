"""Builds docs/handbook.pdf: python docs/build.py [--run=RUN_DIRECTORY] [--output=FILE]

Code in it is quoted from the source by name, numbers and figures come from a run of `lm quickstart`: the one given,
else runs/quickstart if it is there, else a small one that is made on the spot.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import facts
import figures
import snippets
from run_view import Run

from lm.common import manifest
from lm.common.errors import UserError
from lm.train import run as runs

DOCS = Path(__file__).resolve().parent
BUILD = DOCS / "build"
QUICKSTART = snippets.ROOT / "runs" / "quickstart"
SMALL_RUN = ("--config.pages=300", "--config.pretrain=docs/small_run.py")


def chapters() -> list[Path]:
    """Returns the chapters in their order."""
    return sorted((DOCS / "chapters").glob("*.typ"))


def small_run() -> Path:
    """Makes the small run with this version of the code, or finds it made already.

    Raises:
        UserError: the run failed; its own message is on standard error.
    """
    sources = sorted((*(snippets.ROOT / "lm").rglob("*.py"), DOCS / "small_run.py"))
    key = manifest.fingerprint([SMALL_RUN, [manifest.sha256_file(path) for path in sources]])
    directory = BUILD / f"run-{key}"
    if not (directory / runs.REPORT).is_file():
        for stale in BUILD.glob("run-*"):
            shutil.rmtree(stale)
        print(f"lm quickstart {' '.join(SMALL_RUN)}")
        command = [sys.executable, "-m", "lm.cli", "quickstart", *SMALL_RUN, f"--workdir={directory}"]
        if subprocess.run(command, cwd=snippets.ROOT).returncode:
            raise UserError("the small run failed; its message is above")
    return directory


def build(run: Path | None, output: Path) -> None:
    """Writes snippets, facts and figures to docs/build, then the PDF.

    Raises:
        UserError: a snippet or fact that a chapter asks for does not exist, or the run is not a finished one.
    """
    try:
        import typst
    except ImportError as error:
        raise UserError("typst is not installed; pip install 'lm[handbook]'") from error
    BUILD.mkdir(exist_ok=True)
    code = snippets.collect(chapters())
    facts.check_used(chapters())
    opened = Run(run or (QUICKSTART if manifest.find(QUICKSTART, "pretrain") else small_run()))
    print(f"numbers and figures from {opened.directory}")
    for name, content in (("snippets", code), ("facts", facts.collect(opened))):
        (BUILD / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    figures.draw_all(opened, BUILD)
    typst.compile(str(DOCS / "handbook.typ"), output=str(output), root=str(DOCS), ignore_system_fonts=True, timestamp=0)


def main() -> int:
    """Runs the build and returns its exit code: 2 for what the caller can mend, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished directory of `lm quickstart`")
    parser.add_argument("--output", type=Path, default=DOCS / "handbook.pdf")
    arguments = parser.parse_args()
    try:
        build(arguments.run, arguments.output)
    except UserError as error:
        print(f"handbook: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
