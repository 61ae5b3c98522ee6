"""One of two processes is killed at a named moment; fewer or more go on, on another mesh, with the same batches."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import jobs

STEPS = 16
KEYS = {
    "train.steps": STEPS,
    "train.checkpoint_every": 4,
    "train.eval_every": 8,
    "model.n_kv_heads": 2,
    "model.scan_layers": True,
    "cluster.heartbeat_seconds": 20,
}


pytestmark = pytest.mark.slow


class Moment(NamedTuple):
    """The call of a function in which a process dies: the n-th, at its beginning or its end; and which process."""

    module: str
    function: str
    call: int
    victim: int
    after: bool = False


MOMENTS = {
    "before the tokenizer": Moment("lm.data.prepare", "prepare_tokenizer", 1, 0),
    "between tokenizer and shards": Moment("lm.data.prepare", "prepare_shards", 1, 0),
    "shards made, the other waiting": Moment("lm.data.prepare", "prepare_shards", 1, 0, after=True),
    "before the run is claimed": Moment("lm.train.run", "claim", 1, 0),
    "claimed, nothing trained": Moment("lm.train.run", "claim", 1, 0, after=True),
    "parameters being drawn": Moment("lm.train.loop", "init_state", 1, 1),
    "the step not compiled": Moment("lm.train.loop", "make_step", 1, 1),
    "the layout being told": Moment("lm.train.layout", "of_activations", 1, 0),
    "in the first step": Moment("lm.train.loop", "place", 2, 1),
    "in a step before any checkpoint": Moment("lm.train.loop", "place", 4, 0),
    "in a step after one": Moment("lm.train.loop", "place", 7, 1),
    "in a late step": Moment("lm.train.loop", "place", 15, 1),
    "before a save": Moment("lm.common.integrity", "describe", 1, 1),
    "fingerprints taken, nothing saved": Moment("lm.common.integrity", "describe", 2, 0, after=True),
    "the second save begun": Moment("lm.common.storage", "open_manager", 1, 1, after=True),
    "a save just handed over": Moment("lm.common.checkpoint", "Checkpoints.save", 2, 0, after=True),
    "waiting for a save": Moment("lm.common.checkpoint", "Checkpoints.wait", 3, 1),
    "in an evaluation": Moment("lm.evals.perplexity", "Perplexity._totals", 1, 1),
    "before the last save": Moment("lm.common.checkpoint", "Checkpoints.save", 4, 0),
    "trained, not concluded": Moment("lm.study.report", "write", 1, 0),
}
# Where the job goes on: processes, devices, mesh.
ELSEWHERE = [(1, 1, {}), (2, 4, {"mesh.fsdp": 2, "mesh.data": 2}), (4, 4, {"mesh.fsdp": 4}), (1, 4, {"mesh.tensor": 2})]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A text, and a run over it on one device that nothing interrupts."""
    folder = tmp_path_factory.mktemp("kills")
    text = jobs.write_text(folder / "text.txt")
    jobs.run(text, folder / "alone", KEYS)
    return text, folder / "alone"


def killed(text: Path, workdir: Path, moment: Moment) -> list[str]:
    """Starts two processes, one of which dies at the moment, and ends the other; returns what they printed."""
    when = "after" if moment.after else "before"
    fatal = ("-m", "tests.train.inject", "kill", moment.module, moment.function, str(moment.call), when)
    programs = [fatal if number == moment.victim else ("-m", "lm.cli") for number in range(2)]
    processes = jobs.start(text, workdir, KEYS | {"mesh.data": 2}, processes=2, devices=2, programs=programs)
    victim, other = processes[moment.victim], processes[1 - moment.victim]
    outputs = {}
    outputs[moment.victim] = victim.communicate(timeout=jobs.WAIT_SECONDS)[0]
    assert victim.returncode == -signal.SIGKILL, f"it never came to that:\n{outputs[moment.victim]}"
    try:
        outputs[1 - moment.victim] = other.communicate(timeout=60)[0]
    finally:
        other.kill()
    assert other.returncode != 0, "one process alone is no run"
    return [outputs[0], outputs[1]]


@pytest.mark.parametrize("name", MOMENTS)
def test_killed(alone: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    text, whole = alone
    killed(text, tmp_path / "run", MOMENTS[name])
    processes, devices, mesh = ELSEWHERE[[*MOMENTS].index(name) % len(ELSEWHERE)]
    jobs.run(text, tmp_path / "run", KEYS | mesh, processes=processes, devices=devices)
    jobs.assert_same_training(tmp_path / "run", whole)
    assert not list((tmp_path / "run" / "checkpoints").glob("*tmp*"))
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["stage"] == "pretrain"


def test_killed_in_a_restore(alone: tuple[Path, Path], tmp_path: Path) -> None:
    """And once more: what is read twice is read whole."""
    text, whole = alone
    killed(text, tmp_path / "run", MOMENTS["in a late step"])
    killed(text, tmp_path / "run", Moment("lm.common.storage", "read_part", 5, 1))
    jobs.run(text, tmp_path / "run", KEYS)
    jobs.assert_same_training(tmp_path / "run", whole)
