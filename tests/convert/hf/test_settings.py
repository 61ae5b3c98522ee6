"""Whatever a config says of whichever key is read as what it has to be, or refused in one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.hf_specimens import SPECIMENS
from lm.common.errors import UserError
from lm.convert.hf import families
from lm.convert.hf.settings import Settings
from lm.model.config import ModelConfig
from tests.convert.hf.conftest import specimen

NONSENSE: list[Any] = ["x", ["x"], [[]], [{}], {"a": 1}, math.nan, math.inf, 10**400]
VALUES: list[Any] = [None, True, False, 0, 1, -1, 0.0, 2.5, -0.5, "", [], [0], [1, 1], {}, *NONSENSE]


def read(model_type: str, config: dict[str, Any]) -> tuple[ModelConfig, Settings]:
    settings = Settings(config)
    cfg = families.named(model_type, "model_type").read_config(settings)
    settings.finish()
    return cfg, settings


def changed(config: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Returns a copy with the key at a path, through objects, set."""
    key, *rest = path
    return config | {key: changed(config.get(key) or {}, rest, value) if rest else value}


@pytest.mark.parametrize("name", SPECIMENS)
def test_any_value_of_any_key_is_read_or_refused_and_nonsense_changes_nothing(name: str) -> None:
    model_type, config = SPECIMENS[name].model_type, specimen(name)
    sound, settings = read(model_type, config)
    refused: list[tuple[tuple[str, ...], str]] = []
    for path in settings.paths:
        for value in VALUES:
            try:  # whatever else is raised fails the test
                cfg, _ = read(model_type, changed(config, path, value))
            except UserError as error:
                refused.append((path, str(error)))
            else:
                assert cfg == sound or not any(value is one for one in NONSENSE), (path, value)
    assert not [said for _, said in refused if "\n" in said]
    assert len({path for path, _ in refused}) > len(settings.paths) / 3


def test_specimens_are_of_every_family() -> None:
    assert {one.model_type for one in SPECIMENS.values()} == {family.model_type for family in families.FAMILIES}


MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("gemma3", {"rope_parameters": [1]}, "rope_parameters=[1]: an object is expected"),
    ("gemma3", {"rope_scaling": "linear"}, 'rope_scaling="linear": an object is expected'),
    ("gemma3", {"sliding_window_pattern": 0}, "sliding_window_pattern=0: a whole number is expected, of at least 1"),
    ("deepseek_v2", {"rope_parameters": None, "rope_scaling": [4]}, "rope_scaling=[4]: an object is expected"),
    ("qwen2", {"layer_types": 3}, "layer_types=3: a list of 7 is expected"),
    ("qwen2", {"layer_types": [{}] * 7}, "layer_types={}: supported are sliding_attention, full_attention"),
    ("qwen3_moe", {"mlp_only_layers": 1}, "mlp_only_layers=1: a list of at least 0 is expected"),
    ("qwen3_moe", {"mlp_only_layers": [7]}, "mlp_only_layers=7: supported are 0 to 6"),
    ("granite", {"logits_scaling": 0}, "logits_scaling=0: a number is expected, above 0"),
    ("recurrent_gemma", {"block_types": []}, "block_types=[]: a list of at least 1 is expected"),
    ("mamba", {"time_step_rank": "all"}, 'time_step_rank="all": a whole number is expected'),
    ("smollm3", {"no_rope_layers": [True] * 7}, "no_rope_layers=true: supported are 0, 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "keys", "said"), MALFORMED)
def test_what_is_malformed_is_named(name: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(SPECIMENS[name].model_type, specimen(name) | keys)
    assert said in str(caught.value)


def test_defaults_stand_for_absent_and_null_keys_and_null_may_mean_something_else() -> None:
    settings = Settings({"a": None, "b": 3, "c": None})
    assert (settings.integer("a", 7), settings.integer("b", 7), settings.integer("d", 7)) == (7, 3, 7)
    assert (settings.integer("c", 7, null=0), settings.integer("e", 7, null=0)) == (0, 7)
    with pytest.raises(UserError, match=r"config.json: f is missing"):
        settings.number("f")


def test_what_nobody_read_is_refused_at_any_depth() -> None:
    settings = Settings({"a": {"b": {"c": 1, "d": 2}}, "use_cache": True}, "x.json")
    assert settings.section("a").section("b").integer("c") == 1
    assert settings.paths == [("a",), ("a", "b"), ("a", "b", "c")]
    with pytest.raises(UserError, match=r"^x.json: a: b: d=2: not known for this family"):
        settings.finish()
    settings.section("a").section("b").drop("d")
    settings.finish()
