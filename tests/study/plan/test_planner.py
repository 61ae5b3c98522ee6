"""`lm plan`: compiles for this machine in a process of its own, counts other GPUs on paper, refuses what cannot be."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import jobs
from lm import cli
from lm.common.errors import UserError
from lm.study.plan import compile as compiler
from lm.study.plan import duration, planner, report
from lm.study.plan.chips import CHIPS, Slice
from lm.study.plan.layout import Layout

CARD = "configs/pretrain/gpu_24gb.py"
LLAMA = "configs/pretrain/llama3_8b.py"


def quiet(_: str) -> None:
    pass


def test_a_consumer_card_is_planned_for_on_paper(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    written = tmp_path / "plan.json"
    assert cli.main(["plan", f"--config={CARD}", "--topology=rtx4090", "--price=0.4", f"--json={written}"]) == 0
    out = capsys.readouterr().out
    said = json.loads(written.read_text())
    assert set(said) >= {"mesh", "memory_bytes_per_chip", "flops_per_chip", "step_seconds", "mfu", "error"}
    assert said["memory_bytes_per_chip"]["compiler"] is None
    assert 0.4 * 24e9 < said["memory_bytes_per_chip"]["paper"] < 0.9 * 24e9
    assert said["usd"] == pytest.approx(said["days"] * 24 * 0.4)
    assert said["error"] == duration.calibration("rtx4090").error
    assert f"± {said['error']:.0%}" in out


def test_a_search_may_be_asked_for_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", CARD, "--topology=rtx4090", "--search", "--set.model.n_layers=2"]) == 0
    assert "is the quickest of" in capsys.readouterr().out


def test_this_machine_compiles_and_times_a_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XLA_FLAGS", jobs.simulated(8)["XLA_FLAGS"])
    layout = Layout(data=2, fsdp=2, tensor=2, remat="block")
    config = planner._subject(f"{LLAMA}:smoke", Slice("cpu", CHIPS["rtx4090"], (8,)), planner.Options(True)).config
    found = compiler.compile_step(config, "cpu", layout, timed=True)
    assert found.step_seconds is not None
    assert found.step_seconds > 0
    assert {axis for each in found.traffic for axis in each.axis.split(" × ") if axis} == {"data", "fsdp", "tensor"}
    decode = compiler.compile_step(config, "cpu", layout, decode=True)
    assert 0 < decode.flops < found.flops
    assert decode.memory["arguments"] > 0


def test_a_plan_for_this_machine_is_timed() -> None:
    plan = planner.make(f"{LLAMA}:smoke", "cpu", planner.Options(), quiet)
    assert plan.compiled is not None
    assert plan.seconds == plan.compiled.step_seconds
    assert 0 < plan.mfu < 1
    assert "timed" in report.text(plan)
    assert report.as_json(plan)["error"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config: not given"),
        ([LLAMA], "--topology: not given"),
        ([LLAMA, "--topology=v5p:4x4"], "wired in 3 dimensions"),
        ([LLAMA, "--topology=v5p:4x4x4", "--price=-1"], "not negative"),
        ([LLAMA, "--topology=gpu"], "this machine's devices are cpus"),
        ([f"{LLAMA}:smoke", "--topology=rtx4090", "--set.mesh.fsdp=3"], "does not fit 1 devices"),
        ([CARD, "--topology=rtx4090", "--set.model.n_layers=96"], "take more chips"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error


def test_without_libtpu_the_package_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lm\[tpu\]'.*--compile=0"):
        compiler.check("v5p:4x4x4")
    compiler.check("cpu")


def test_a_mesh_that_does_not_divide_is_refused_before_anything_is_compiled() -> None:
    told = planner.Options(changes={"mesh.fsdp": 3, "mesh.data": 1, "model.attention_backend": "xla"})
    with pytest.raises(UserError, match="multiple of 1 micro-batches × 3 parts"):
        planner.make(f"{LLAMA}:smoke", "h100:3", told, quiet)


@pytest.mark.parametrize(
    ("said", "needed"),
    [
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
         "Used 24.50G of 15.75G hbm. Exceeded hbm capacity by 8.75G.", int(24.5 * 2**30)),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (95.10G) "
         "exceeds available HBM (15.75G).", int(95.1 * 2**30)),
        ("INTERNAL: something else", 0),
    ],
)  # fmt: skip
def test_a_program_that_is_too_large_is_told_from_other_failures(said: str, needed: int) -> None:
    """The two sentences are those of libtpu's."""
    assert compiler.needs(said) == needed


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize("config", [LLAMA])
def test_a_slice_that_is_not_here_is_compiled_for(config: str) -> None:
    changes = {"model.n_layers": 4}
    plan = planner.make(config, "v5p:4x4x4", planner.Options(changes=changes), quiet)
    assert plan.compiled is not None
    assert plan.compiled.flops == plan.chosen.work.product_flops
    assert plan.chosen.memory.total == pytest.approx(plan.compiled.peak, rel=0.05)
    assert plan.compiled.kernels
