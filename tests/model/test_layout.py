"""How layers are stored: every layer in one place, like ones together, the shortest period."""

from __future__ import annotations

import pytest

from lm.model.config import ModelConfig, Moe, pattern

from .architectures import draw


def config(n_layers: int, **changes: object) -> ModelConfig:
    return ModelConfig(8, n_layers, 2, 2, 8, 8, 4, 8, **changes)


@pytest.mark.parametrize("seed", range(40))
def test_every_layer_stands_in_one_place(seed: int) -> None:
    cfg = draw(seed)
    held = {(stack.name, at): number for stack in cfg.stacks for at, number in enumerate(stack.numbers)}
    assert {cfg.place(number): number for number in range(cfg.n_layers)} == held
    assert sorted(held.values()) == list(range(cfg.n_layers))
    for stack in cfg.stacks:
        assert {cfg.layers[number] for number in stack.numbers} == {stack.layer}


@pytest.mark.parametrize("seed", range(40))
def test_the_period_is_the_shortest_that_repeats(seed: int) -> None:
    cfg = draw(seed)
    body = cfg.layers[cfg.n_lead :]

    def repeats(period: int) -> bool:
        return all(layer == body[i % period] for i, layer in enumerate(body))

    assert repeats(cfg.period)
    assert not any(repeats(shorter) for shorter in range(1, cfg.period))


def test_like_layers_are_one_stack() -> None:
    assert [(s.name, s.count) for s in config(5).stacks] == [("block_0", 5)]


def test_a_pattern_need_not_fill_its_last_period() -> None:
    """Of seven layers whose third is another: layers 1, 2 and 3 begin a stack each, and the seventh is of the first."""
    stacks = config(7, window=(4, 4, 0)).stacks
    assert [(s.name, list(s.numbers), s.layer.window) for s in stacks] == [
        ("block_0", [0, 3, 6], 4),
        ("block_1", [1, 4], 4),
        ("block_2", [2, 5], 0),
    ]


def test_dense_layers_before_experts_stand_alone() -> None:
    cfg = config(4, moe=Moe(n_experts=4, first_dense=1))
    assert [(s.name, list(s.numbers), s.layer.n_experts) for s in cfg.stacks] == [
        ("lead_0", [0], 0),
        ("block_0", [1, 2, 3], 4),
    ]


def test_keys_of_unlike_periods_repeat_together() -> None:
    cfg = config(12, window=(4, 0), position=("rope", "rope", "none"))
    assert cfg.period == 6
    assert [layer.window for layer in cfg.layers] == [4, 0] * 6
    assert [layer.position for layer in cfg.layers] == ["rope", "rope", "none"] * 4


def test_patterns_are_told_in_short() -> None:
    assert pattern([4, 4, 4]) == 4
    assert pattern([4, 0, 4, 0, 4]) == (4, 0)
    assert pattern([4, 0, 0]) == (4, 0, 0)
