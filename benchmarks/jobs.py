"""Training jobs of one or several real processes, each with simulated devices of its own."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = 300


def write_text(path: Path) -> Path:
    """Writes some hundred documents of made-up words."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(200)]
    path.write_text("\n".join(" ".join(rng.choices(words, k=8)) for _ in range(900)), encoding="utf-8")
    return path


def free_port() -> int:
    """Returns a port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def simulated(devices: int) -> dict[str, str]:
    """Returns the environment of a process that has so many devices, on its CPU; other flags of XLA's stay."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


def start(
    text: Path,
    workdir: Path,
    keys: Mapping[str, Any],
    *,
    processes: int = 1,
    devices: int = 1,
    programs: Sequence[Sequence[str]] = (),
) -> list[subprocess.Popen[str]]:
    """Starts `lm pretrain` as so many processes with so many devices in all, by `-m lm.cli` or a program for each."""
    assert devices % processes == 0
    programs = programs or [("-m", "lm.cli")] * processes
    arguments = [
        *("pretrain", "--config=configs/pretrain/tiny.py:smoke"),
        *(f"--config.data.path={text}", f"--workdir={workdir}", "--config.train.log_every=1"),
        *("--config.optimizer.name=adamw", "--config.optimizer.peak_lr=3e-3", "--config.tokenizer.vocab_size=304"),
        *("--config.train.eval_every=0", "--config.sample.prompts=()"),
        *(f"--config.{key}={value}" for key, value in keys.items()),
    ]
    environment = {**simulated(devices // processes), "PYTHONPATH": str(ROOT)}
    coordinator = f"--config.cluster.coordinator=localhost:{free_port()}"
    several = [
        [coordinator, f"--config.cluster.processes={processes}", f"--config.cluster.process={number}"]
        for number in range(processes)
    ]
    return [
        subprocess.Popen(
            [sys.executable, *program, *arguments, *(flags if processes > 1 else [])],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for program, flags in zip(programs, several, strict=True)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Waits for the end of all, and returns what each printed."""
    outputs = [process.communicate(timeout=WAIT_SECONDS)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n---\n".join(outputs)
    return outputs


def run(text: Path, workdir: Path, keys: Mapping[str, Any], *, processes: int = 1, devices: int = 1) -> list[str]:
    """Runs a job to its end."""
    return finish(start(text, workdir, keys, processes=processes, devices=devices))


def column(workdir: Path, name: str) -> list[float]:
    """Returns what was logged under a name, step by step."""
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def assert_same_training(found: Path, wanted: Path) -> None:
    """Checks for equal batches, first gradients within 1e-5, and losses within 1e-3, of each step."""
    assert column(found, "step") == column(wanted, "step")
    assert column(found, "train/batch_hash") == column(wanted, "train/batch_hash")
    np.testing.assert_allclose(column(found, "train/grad_norm")[0], column(wanted, "train/grad_norm")[0], rtol=1e-5)
    np.testing.assert_allclose(column(found, "train/loss"), column(wanted, "train/loss"), atol=1e-3)
