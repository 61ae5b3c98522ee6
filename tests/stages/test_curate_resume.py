"""`lm curate` killed at chosen moments ends in the same bytes, does no finished unit again, and leaves no worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm import cli

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 180

# The command line, but that it stops for good before a file of the name it is given is put in place.
HOLD = """
import signal, sys
from lm import cli
from lm.common import manifest

write_atomic = manifest.write_atomic

def hold(path, data):
    if path.name == sys.argv[1]:
        print("holding", flush=True)
        signal.pause()
    write_atomic(path, data)

manifest.write_atomic = hold
sys.exit(cli.main(sys.argv[2:]))
"""


def start(arguments: list[str], *, program: tuple[str, ...] = ("-m", "lm.cli")) -> subprocess.Popen[str]:
    command = [sys.executable, *program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Polls as fast as it can, so that what is waited for is still going on when this returns."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process is None or process.poll() is None, f"ended before the moment:\n{process.communicate()[0]}"
        assert time.monotonic() < deadline, "the moment never came"


def living(session: int) -> set[int]:
    """Returns the processes of a session that are not zombies."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(sid) == session and state != "Z":
            found.add(int(path.parent.name))
    return found


def kill(process: subprocess.Popen[str]) -> None:
    """Kills the whole process group at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finished(output: Path) -> dict[Path, tuple[int, int]]:
    """Returns inode and time of every receipt, and of every ledger that stands under its last name."""
    paths = [*(output / "work").glob("*/[0-9]*.json"), *output.glob("d*/*.zst"), *output.glob("work/prepared/*.zst")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def whole(curation: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a curation that nothing interrupts leaves."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert cli.main(curation.arguments(output)) == 0
    return curation.tree(output)


def killed_between_units_of_prepare(arguments: list[str], output: Path) -> None:
    """Some units have receipts, some have not."""
    held_before(arguments, "00003.json")
    assert len(list(output.glob("work/prepare/*.json"))) == 3


def killed_within_a_unit(arguments: list[str], output: Path) -> None:
    """One unit is done; held still until a ledger of the next is half written."""
    process = start(arguments)
    wait_for(lambda: list(output.glob("work/prepare/*.json")), process)
    while True:
        wait_for(lambda: list(output.glob("dropped/*.tmp")), process)
        os.killpg(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if list(output.glob("dropped/*.tmp")):
            break
        os.killpg(process.pid, signal.SIGCONT)
    kill(process)
    assert list(output.glob("dropped/*.tmp"))


def held_before(arguments: list[str], name: str) -> None:
    """Kills the command where a file of this name would be put in place."""
    process = start([name, *arguments], program=("-c", HOLD))
    assert process.stdout is not None
    assert any("holding" in line for line in process.stdout), "never came there"
    kill(process)


def killed_in_dedup(arguments: list[str], output: Path) -> None:
    """The labels of the first units are written, those of the last are not."""
    process = start(arguments)
    wait_for(lambda: list(output.glob("work/dedup/labels/00000.npy")), process)
    kill(process)
    assert not list(output.glob("work/finish/*.json"))


def killed_before_the_manifest(arguments: list[str], output: Path) -> None:
    """All is sealed but for the manifest."""
    held_before(arguments, "manifest.json")
    assert (output / "facts.json").is_file()
    assert not (output / "manifest.json").exists()


def killed_before_the_report(arguments: list[str], output: Path) -> None:
    """The manifest is there, the report is not."""
    held_before(arguments, "report.html")
    assert (output / "manifest.json").is_file()
    assert (output / "work").is_dir()


@pytest.mark.parametrize(
    "killed",
    [
        killed_between_units_of_prepare,
        pytest.param(killed_within_a_unit, marks=pytest.mark.slow),
        killed_in_dedup,
        killed_before_the_manifest,
        pytest.param(killed_before_the_report, marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_chosen_moment(
    curation: Any, whole: dict[str, bytes], tmp_path: Path, killed: Callable[[list[str], Path], None]
) -> None:
    output = tmp_path / "out"
    killed(curation.arguments(output), output)
    before = finished(output)
    assert before
    receipts = {path for path in before if path.suffix == ".json"}
    assert resumed(curation, output, receipts, before)
    assert curation.tree(output) == whole


def resumed(curation: Any, output: Path, receipts: set[Path], before: dict[Path, tuple[int, int]]) -> bool:
    """Runs the command again up to its seal, and finds that nothing finished was touched; then lets it end.

    A share that cannot be reached stops it ahead of the manifest, with its working files there to be looked at.
    """
    if not (output / "manifest.json").exists():
        assert cli.main(curation.arguments(output, "--config.min_kept=1.0")) == 2
        done = finished(output)
        assert {path: done[path] for path in receipts} == {path: before[path] for path in receipts}
        kept = {path: entry for path, entry in before.items() if path in done and path not in receipts}
        names = b"".join(path.read_bytes() for path in receipts)
        assert all(done[path] == entry for path, entry in kept.items() if path.name.encode() in names)
    return cli.main(curation.arguments(output)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_is_left(curation: Any, whole: dict[str, bytes], tmp_path: Path, number: signal.Signals) -> None:
    """However the command ends that a signal stops while its workers work, and it alone gets the signal."""
    output = tmp_path / "out"
    arguments = curation.arguments(output, "--config.workers=2")
    process = start(arguments)
    wait_for(lambda: list(output.glob("work/prepare/*.json")), process)
    assert len(living(process.pid)) > 2
    process.send_signal(number)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    wait_for(lambda: not living(process.pid))
    assert not (output / "manifest.json").exists()
    if number != signal.SIGKILL:
        assert process.returncode == 2
        assert printed.splitlines()[-1] == "lm curate: interrupted; the same command continues where it was"
        assert "Traceback" not in printed
    assert cli.main(curation.arguments(output)) == 0
    assert curation.tree(output) == whole


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_and_no_wait(
    curation: Any, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """As the kernel does where memory runs out."""
    output = tmp_path / "out"
    process = start(curation.arguments(output, "--config.workers=2"))
    wait_for(lambda: list(output.glob("work/progress/prepare/*.json")), process)
    worker = int(next(output.glob("work/progress/prepare/*.json")).stem.rpartition("-")[2])
    os.kill(worker, signal.SIGKILL)
    printed = process.communicate(timeout=WAIT_SECONDS)[0]
    assert process.returncode == 2, printed
    assert "a worker process was killed" in printed.splitlines()[-1]
    wait_for(lambda: not living(process.pid))
    assert cli.main(curation.arguments(output)) == 0
    assert curation.tree(output) == whole
