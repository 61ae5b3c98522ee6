"""Several processes, each with devices of its own, train as one does."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from benchmarks import jobs

KEYS = {"train.steps": 12, "train.checkpoint_every": 6, "model.dropout": 0.1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A text, and a run over it on one device."""
    folder = tmp_path_factory.mktemp("processes")
    text = jobs.write_text(folder / "text.txt")
    jobs.run(text, folder / "alone", KEYS)
    return text, folder / "alone"


@pytest.mark.parametrize(
    ("processes", "mesh"),
    [
        (2, {"mesh.data": 2, "mesh.fsdp": 2}),
        pytest.param(4, {"mesh.fsdp": 2, "mesh.tensor": 2}, marks=pytest.mark.slow),
    ],
)
def test_processes_train_as_one(alone: tuple[Path, Path], tmp_path: Path, processes: int, mesh: dict) -> None:
    """Equal batches, like gradients and losses; one of them writes and speaks."""
    text, whole = alone
    keys = KEYS | mesh | {"model.n_kv_heads": 2} if "mesh.tensor" in mesh else KEYS | mesh
    if "mesh.tensor" in mesh:
        jobs.run(text, tmp_path / "alone", KEYS | {"model.n_kv_heads": 2})
        whole = tmp_path / "alone"
    keys["sample.prompts"] = "('ab',)"  # written by one of them alone
    outputs = jobs.run(text, tmp_path / "run", keys, processes=processes, devices=4)
    assert [made["prompt"] for made in json.loads((tmp_path / "run" / "samples.json").read_text())] == ["ab"]
    jobs.assert_same_training(tmp_path / "run", whole)
    assert "parameters" in outputs[0]
    assert not any("parameters" in output or "step 1" in output for output in outputs[1:])
    assert (tmp_path / "run" / "manifest.json").is_file()
    layout = json.loads((tmp_path / "run" / "sharding.json").read_text())
    table = layout["state"]["params.embed.table"]
    assert table["shard"][1] * mesh["mesh.fsdp"] == table["shape"][1]
    assert layout["activations"]["hidden"]["shard"][0] * 4 // mesh.get("mesh.tensor", 1) == 16


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_other_processes(alone: tuple[Path, Path], tmp_path: Path) -> None:
    """Two processes are told to stop, by a signal to one; one process with three times their devices goes on."""
    text, whole = alone
    workdir = tmp_path / "run"
    keys = KEYS | {"train.checkpoint_every": 100}
    processes = jobs.start(text, workdir, keys | {"mesh.fsdp": 2}, processes=2, devices=2)
    deadline = time.monotonic() + jobs.WAIT_SECONDS
    while not (workdir / "metrics.jsonl").exists() or len((workdir / "metrics.jsonl").read_text().splitlines()) < 2:
        assert all(process.poll() is None for process in processes), jobs.finish(processes)
        assert time.monotonic() < deadline
    processes[1].send_signal(signal.SIGTERM)
    outputs = jobs.finish(processes)
    stopped = re.search(r"stopped at step (\d+)", outputs[0])
    assert stopped, outputs[0]
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == [stopped[1]]
    again = jobs.run(text, workdir, keys | {"mesh.data": 4}, devices=4)
    assert f"resuming at step {stopped[1]}" in again[0]
    jobs.assert_same_training(workdir, whole)


def test_what_fails_in_the_first_fails_in_all(tmp_path: Path) -> None:
    """No process waits for one that is gone."""
    processes = jobs.start(tmp_path / "missing.txt", tmp_path / "run", KEYS, processes=2, devices=2)
    outputs = [process.communicate(timeout=jobs.WAIT_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert "missing.txt" in outputs[0]
    assert "process 0 could not go on" in outputs[1]
