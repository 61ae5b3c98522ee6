"""What is said to differ does, and nothing else is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from lm.common.checkpoint import Checkpoints
from lm.model import cost
from lm.study import diff, subject
from lm.train import imported
from lm.train import run as runs


@pytest.fixture(scope="module")
def other(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, with another learning rate, one matrix twice as large and a metric changed."""
    run = tmp_path_factory.mktemp("other") / "other run"
    shutil.copytree(finished, run)
    config = json.loads((run / runs.CONFIG).read_text())
    config["optimizer"]["peak_lr"] = 0.125
    (run / runs.CONFIG).write_text(json.dumps(config))
    with Checkpoints(run / runs.CHECKPOINTS, async_save=False) as checkpoints:
        step, params, extra = checkpoints.restore_params()
        params["embed"]["table"] = 2 * params["embed"]["table"]
        checkpoints.save(step + 1, {"params": jax.tree.map(jax.numpy.asarray, params)}, extra)
    return run


def test_a_subject_does_not_differ_from_itself(finished: Path) -> None:
    found = diff.diff(subject.find(str(finished)), subject.find(str(finished)))
    assert (found.keys, found.tensors, found.data) == ({}, {}, {})
    assert all(a == b for a, b in [*found.figures.values(), *found.metrics.values()])
    assert found.weights
    assert all(change.relative == 0 for change in found.weights)
    assert diff.verdict(found) == "same architecture; same weights"


def test_runs_differ_in_keys_and_weights(finished: Path, other: Path) -> None:
    found = diff.diff(subject.find(str(finished)), subject.find(str(other)))
    before = json.loads((finished / runs.CONFIG).read_text())["optimizer"]["peak_lr"]
    assert found.keys == {"optimizer.peak_lr": (before, 0.125)}
    assert found.weights is not None
    assert [(c.name, c.relative) for c in found.weights if c.relative] == [("embed.table", pytest.approx(1.0))]
    assert found.metrics["step"] == (40, 40)
    assert "val/loss" in found.metrics
    lines = diff.text(found).splitlines()
    assert lines[0] == diff.verdict(found)
    assert lines[0].startswith("same architecture; 1 config key differs; 1 of ")
    assert lines[2].split() == [*str(finished).split(), *str(other).split()]
    assert any(line.startswith("  embed.table") and line.endswith("1 of its length away") for line in lines)


def test_architectures_differ_in_tensors_told_once_for_all_layers() -> None:
    found = diff.diff(subject.find("smollm2-135m"), subject.find("gpt2-124m"))
    assert found.tensors["layers.29.mixer.q.kernel"] == ((576, 9, 64), None)
    assert found.tensors["layers.3.mixer.q.kernel"] == ((576, 9, 64), (768, 12, 64))
    assert found.keys["model.norm"] == ("rms", "layer")
    assert found.figures["parameters"] == (134_515_008, 124_439_808)
    assert found.context == 1024
    assert found.weights is None
    assert diff.verdict(found) == f"different architectures; {len(found.keys)} config keys differ"
    rows = [line.split("  ") for line in diff.text(found).splitlines()]
    said = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["mixer.q.kernel, layers 0–11", "576 × 9 × 64", "768 × 12 × 64"] in said
    assert ["mixer.q.kernel, layers 12–29", "576 × 9 × 64", "–"] in said


def test_a_run_and_a_preset_have_no_weights_to_compare(finished: Path) -> None:
    found = diff.diff(subject.find(str(finished)), subject.find("gpt2-124m"))
    assert found.weights is None
    assert found.data["shards"][1] is None
    assert all(key.startswith("model.") for key in found.keys)  # a preset says nothing else
    json.dumps(diff.as_json(found))


def test_how_it_is_computed_is_no_architecture() -> None:
    a, b = (subject.find("gpt2-124m", changes={"model.remat": remat}) for remat in ("none", "block"))
    assert diff.verdict(diff.diff(a, b)) == "same architecture; 1 config key differs"


def test_imported_runs_are_told_apart_by_dotted_keys(finished: Path, tmp_path: Path) -> None:
    trained = subject.find(str(finished))
    model, params = (
        trained.model,
        jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), cost.parameter_shapes(trained.model)),
    )
    sides = []
    for name, source in (("a", "0a"), ("b", "0b")):
        shutil.copytree(finished / runs.TOKENIZER, tmp_path / name / runs.TOKENIZER)
        data = {"from": source, "tokenizer": "1"}
        imported.write_run(
            tmp_path / name, model, params, bos=True, config={}, inputs=data, origin={"dtype": "float32"}
        )
        sides.append(subject.find(str(tmp_path / name)))
    found = diff.diff(*sides)
    assert found.data == {"imported.from": ("0a", "0b")}
    assert diff.verdict(found) == "same architecture; same weights"
    assert "{" not in diff.text(found)
    beside = diff.diff(trained, sides[0])
    assert beside.keys == {}  # what it was trained with, an import does not know
    assert diff.verdict(beside).startswith("same architecture; ")
