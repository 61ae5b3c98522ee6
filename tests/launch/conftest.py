"""A path on which every command that the launch files call is a stand-in that keeps to its interface.

`lm` notes its arguments; `gcloud` runs what it is asked to run on each host's own folder; `srun` runs it for each task;
`xpk`, `kubectl` and `pip` note how they were called; `nvidia-smi` knows two GPUs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"

NOTE = """#!/bin/bash
note=$(mktemp "$CALLS/$(basename "$0").XXXXXX")
printf '%s\\0' "$@" > "$note"
"""
LM = NOTE + 'echo "${SLURM_PROCID:-$JAX_PROCESS_ID}${CUDA_VISIBLE_DEVICES:-}" > "$note.env"\nexit "${LM_EXIT:-0}"\n'
# What a host starts with: installing leaves a virtual environment with `lm` in it.
PYTHON3 = NOTE + 'if [[ "$*" == *"pip install"*--editable* ]]; then ln -sf "$STANDINS/lm" .venv/bin/lm; fi\n'
PYTHON3 += 'if [[ "$*" == *venv* ]]; then mkdir -p .venv/bin; fi\n'
GCLOUD = (
    NOTE
    + """
for argument in "$@"; do
  case $argument in
    --command=*) command=${argument#--command=} ;;
    --worker=*) worker=${argument#--worker=} ;;
  esac
done
case "$*" in
  *" describe "*)
    [[ -e $CALLS/made ]] || exit 1
    [[ -e $CALLS/looked ]] && echo "${STATE:-ACTIVE}" || echo PROVISIONING
    touch "$CALLS/looked" ;;
  *" create "*) touch "$CALLS/made" ;;
  *" scp "*) [[ $worker == all ]] && for host in "$HOSTS"/*; do cp "$5" "$host/${6#*:}"; done ;;
  *" ssh "*)
    [[ $worker == all ]] || exit 1
    running=()
    for host in "$HOSTS"/*; do (cd "$host" && bash -c "$command") & running+=($!); done
    code=0
    for process in "${running[@]}"; do wait "$process" || code=$?; done
    exit "$code" ;;
esac
"""
)
SRUN = (
    NOTE
    + """
while [[ $1 == -* ]]; do shift; done
for ((task = 0; task < SLURM_NTASKS; task++)); do SLURM_PROCID=$task "$@" || exit; done
"""
)
NVIDIA_SMI = (
    NOTE
    + """
case "$*" in
  --list-gpus) printf 'GPU 0: A card\\nGPU 1: A card\\n' ;;
  --id=[01]*) echo "A card, 24576 MiB" ;;
  *) echo "No devices were found"; exit 6 ;;
esac
"""
)
STANDINS = {
    **dict.fromkeys(("xpk", "pip", "git"), NOTE),
    "lm": LM,
    "python3": PYTHON3,
    "gcloud": GCLOUD,
    "srun": SRUN,
    "nvidia-smi": NVIDIA_SMI,
}


@dataclass(frozen=True)
class Place:
    """Where launch files are run: `hosts` folders stand for machines."""

    folder: Path

    def run(
        self, file: str, *arguments: str, variables: Mapping[str, str], hosts: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a launch file with nothing in its environment but these variables."""
        for number in range(hosts):
            (self.folder / "hosts" / str(number)).mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            ["bash", LAUNCH / file, *arguments],
            cwd=self.folder,
            env=self.environment() | dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """Returns what a stand-in needs to know."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "STANDINS": str(self.folder / "bin"),
            "CALLS": str(self.folder / "calls"),
            "HOSTS": str(self.folder / "hosts"),
        }

    def calls(self, command: str) -> list[list[str]]:
        """Returns the arguments of every call of a command, in no order."""
        notes = [path for path in (self.folder / "calls").glob(f"{command}.*") if path.suffix != ".env"]
        return [note.read_bytes().decode().split("\0")[:-1] for note in notes]

    def told(self) -> list[str]:
        """Returns what each `lm` was told by its environment, sorted."""
        return sorted(path.read_text().strip() for path in (self.folder / "calls").glob("lm.*.env"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("bin", "calls", "hosts"):
        (tmp_path / name).mkdir()
    for name, text in STANDINS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return Place(tmp_path)
