"""What is said of an architecture adds up, and is said once for layers that are alike."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from lm.model import cost, presets
from lm.model.config import ModelConfig
from lm.study import inspect, subject

NAMES = ("gpt2-124m", "gemma3-270m", pytest.param("smollm3-3b", marks=pytest.mark.slow))


@cache
def inspected(name: str) -> inspect.Inspection:
    return inspect.inspect(subject.find(name))


@pytest.mark.parametrize("name", NAMES)
def test_groups_add_up_to_all_parameters_and_layers(name: str) -> None:
    found = inspected(name)
    layers = [sorted(n for kind in group.kinds.values() for n in kind) for group in found.groups]
    total = sum(group.count * max(1, len(numbers)) for group, numbers in zip(found.groups, layers, strict=True))
    assert total == found.n_params == cost.n_params(presets.get(name))
    assert [n for numbers in layers for n in numbers] == list(range(presets.get(name).n_layers))


def test_layers_of_like_parameters_are_told_once() -> None:
    embedding, body, last = inspected("gemma3-270m").groups
    assert [parameter.name for parameter in embedding.parameters] == ["embed.table"]
    assert body.kinds == {
        "attention over 512 tokens, rope 10k, geglu_tanh": tuple(n for n in range(18) if n % 6 != 5),
        "attention, rope 1M, geglu_tanh": (5, 11, 17),
    }
    assert [parameter.name for parameter in last.parameters] == ["final_norm.scale"]


def test_starts_and_parts_of_a_parameter() -> None:
    found = inspect.inspect(subject.find("llama3-8b", changes={"mesh.fsdp": 4, "mesh.tensor": 2}, devices=8))
    by_name = {parameter.name: parameter for group in found.groups for parameter in group.parameters}
    q = by_name["mixer.q.kernel"]
    assert (q.shape, q.axes, q.parts) == ((4096, 32, 128), ("embed", "heads", "head_width"), (4, 2, 1))
    assert q.init == "normal 0.0156"  # 1 / sqrt(4096)
    assert by_name["mixer_norm.scale"].init == "unit scale"


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([3], "3"),
        ([0, 1, 2], "0–2"),
        ([0, 2], "0, 2"),
        ([0, 2, 4, 6], "0, 2, … 6"),
        ([0, 1, 3, 4, 6, 7], "0–1, 3–4, 6–7"),
        ([0, 1, 3, 4, 6, 7, 9], "0–1, 3–4, … 9"),
    ],
)
def test_numbers_as_ranges(layers: list[int], said: str) -> None:
    assert inspect.numbers(layers) == said


def test_text_of_a_run(finished: Path) -> None:
    found = inspect.inspect(subject.find(str(finished)))
    lines = inspect.text(found).splitlines()
    assert lines[0] == str(finished)
    assert any(line.startswith("layers 0–1 (2 × ") for line in lines)
    assert f"parameters     {found.n_params:,}" in lines
    assert "to train" in {line[:8] for line in lines}
    assert all(len(line) <= 120 for line in lines[1:])


@pytest.mark.slow
def test_text_says_what_windows_and_states_do() -> None:
    windowed = inspect.text(inspect.inspect(subject.find("gemma2-2b"), 8192))
    assert (
        "cache          106 kB a token, 872 MB for 8,192 (bfloat16), of which windows leave 654 MB in view" in windowed
    )
    states = inspect.text(inspect.inspect(subject.find("gpt2-124m", changes={**RECURRENT})))
    assert "whatever the length" in states
    assert "kB a token" not in states


RECURRENT = {"model.mixer": "lstm", "model.position": "rope", "model.qkv_bias": False, "model.o_bias": False}


def test_json_holds_the_architecture(finished: Path) -> None:
    found = inspect.inspect(subject.find(str(finished)))
    said = json.loads(json.dumps(inspect.as_json(found)))
    assert ModelConfig.from_dict(said["model"]) == found.subject.model
    assert said["n_params"] == found.n_params
    assert said["memory"]["total"] == found.memory.total
    counted = sum(p["count"] for group in said["groups"] for p in group["parameters"] if not group["layers"])
    assert counted < found.n_params
