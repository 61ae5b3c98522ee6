"""`lm curate` under Slurm: what is queued, in which order it may run, and that running it gives the local bytes.

`sbatch`, `srun` and `scontrol` are stand-ins that keep to their interface: the first puts a script and its arguments
into a folder and tells a job number; the tests run the scripts, once for every index of their array.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lm import cli

SBATCH = """#!/bin/bash
number=$((1000 + $(ls "$QUEUE" | wc -l)))
printf '%s\\n' "${@:1:$#-1}" > "$QUEUE/$number.arguments"
cp "${@: -1}" "$QUEUE/$number.script"
echo "Submitted batch job $number"
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
[[ "$1 $2" == "show hostnames" ]] && echo "$3"
"""


@dataclass(frozen=True)
class Job:
    """A queued job: its script, and what `sbatch` was told beside it."""

    number: str
    script: str
    arguments: list[str]

    def option(self, name: str) -> str:
        found = re.search(rf"^#SBATCH --{name}=(.*)$", self.script, re.MULTILINE)
        assert found, self.script
        return found[1]

    @property
    def after(self) -> str:
        given = [argument for argument in self.arguments if argument.startswith("--dependency=")]
        return given[0].removeprefix("--dependency=") if given else ""

    def run(self, folder: Path) -> list[int]:
        """Runs the script for each index of its array, as Slurm would, and returns the exit codes."""
        exported = dict(pair.split("=") for pair in re.findall(r"\w+=\w+", self.arguments[0].partition("=")[2]))
        last = int(self.option("array").partition("%")[0].partition("-")[2])
        path = folder / f"{self.number}.sh"
        path.write_text(self.script)
        codes = []
        for index in range(last + 1):
            given = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_NODELIST": "node1", "SLURM_JOB_ID": self.number}
            codes.append(
                subprocess.run(["bash", path], env={**os.environ, **exported, **given}, check=False).returncode
            )
        return codes


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of queued jobs, and commands that fill it first on the path."""
    commands, folder = tmp_path / "bin", tmp_path / "queue"
    commands.mkdir()
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(folder))
    return folder


def queued(queue: Path) -> list[Job]:
    return [
        Job(path.stem, path.read_text(), path.with_suffix(".arguments").read_text().splitlines())
        for path in sorted(queue.glob("*.script"))
    ]


def slurm(curation: Any, output: Path, *extra: str) -> list[str]:
    here = ("--config.executor=slurm", "--config.slurm.partition=cpu", "--config.workers=0")
    return curation.arguments(output, *here, *extra)


def test_each_phase_waits_for_the_success_of_the_one_before(
    curation: Any, tmp_path: Path, queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(slurm(curation, tmp_path / "out")) == 0
    assert "queued" in capsys.readouterr().out
    jobs = queued(queue)
    assert [job.option("job-name") for job in jobs] == [
        f"lm-curate-{phase}" for phase in ("prepare", "dedup", "finish", "seal")
    ]
    assert [job.option("array") for job in jobs] == ["0-7", "0-0", "0-7", "0-0"]
    assert [job.after for job in jobs] == ["", *(f"afterok:{job.number}" for job in jobs[:-1])]
    assert {job.option("partition") for job in jobs} == {"cpu"}
    assert all(f"\nexport PATH={Path(sys.executable).parent}:$PATH\n" in job.script for job in jobs)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_keys_of_the_section_reach_the_script(curation: Any, tmp_path: Path, queue: Path) -> None:
    keys = {"time": "01:02:03", "cpus_per_task": 2, "mem_per_cpu_gb": 3, "qos": "high", "env_command": "module load x"}
    extra = [f"--config.slurm.{key}={value}" for key, value in keys.items()]
    assert cli.main(slurm(curation, tmp_path / "out", "--config.workers=5", *extra)) == 0
    job = queued(queue)[0]
    found = [job.option(name) for name in ("time", "cpus-per-task", "mem-per-cpu", "qos", "array")]
    assert found == ["01:02:03", "2", "3G", "high", "0-7%5"]
    assert "\nmodule load x\n" in job.script


def test_arrays_beyond_the_cluster_s_limit_follow_one_another(curation: Any, tmp_path: Path, queue: Path) -> None:
    assert cli.main(slurm(curation, tmp_path / "out", "--config.slurm.max_array_size=3")) == 0
    jobs = queued(queue)
    assert [job.option("job-name").rpartition("-")[2] for job in jobs] == (
        ["prepare"] * 3 + ["dedup"] + ["finish"] * 3 + ["seal"]
    )
    assert [job.after for job in jobs] == ["", *(f"afterok:{job.number}" for job in jobs[:-1])]
    assert [job.arguments[0] for job in jobs[:3]] == [f"--export=ALL,RUN_OFFSET={n}" for n in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["memory", "datatrove"])
def test_what_is_queued_gives_the_local_bytes(curation: Any, tmp_path: Path, queue: Path, backend: str) -> None:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for path in sorted(curation.crawl.rglob("*.gz"))[2:5]:
        shutil.copy2(path, crawl)
    columns = ("--config.dedup.preset=", "--config.dedup.bands=2", f"--config.dedup.backend={backend}")
    extra = (f"--config.input={crawl}", *columns)
    assert cli.main(curation.arguments(tmp_path / "local" / "out", *extra)) == 0
    output = tmp_path / "slurm" / "out"
    assert cli.main(slurm(curation, output, "--config.slurm.max_array_size=2", *extra)) == 0
    for job in queued(queue):
        assert set(job.run(tmp_path)) == {0}, job
    shutil.rmtree(output / "logs")
    assert curation.tree(output) == curation.tree(tmp_path / "local" / "out")
    assert cli.main(slurm(curation, output, *extra)) == 0  # which finds it finished


@pytest.mark.slow
def test_a_task_that_fails_fails_its_job(curation: Any, tmp_path: Path, queue: Path) -> None:
    output = tmp_path / "out"
    assert cli.main(slurm(curation, output)) == 0
    prepare, dedup, *_ = queued(queue)
    assert set(dedup.run(tmp_path)) != {0}  # nothing is prepared yet
    (output / "work" / "units.json").unlink()
    assert 0 not in prepare.run(tmp_path)[:1]
    assert not (output / "manifest.json").exists()
