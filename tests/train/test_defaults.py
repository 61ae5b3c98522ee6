"""A preset's section of the config says all that the preset does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lm.common.errors import UserError
from lm.model import presets
from lm.train import defaults, sizing


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_resolves_to_itself_with_the_tokenizers_vocabulary(name: str) -> None:
    section = defaults.preset(name)
    assert (section.vocab_size, section.dtype) == (None, None)
    model, derived = sizing.resolve_model(section, vocab_size=777, dtype="bfloat16")
    assert model == replace(presets.get(name), vocab_size=777, dtype="bfloat16")
    assert {item.key for item in derived} == {"model.vocab_size", "model.dtype"}


def test_keys_that_are_set_win() -> None:
    section = defaults.preset("gpt2-124m")
    section.n_layers, section.vocab_size = 2, 50_257
    model, _ = sizing.resolve_model(section, vocab_size=777, dtype="float32")
    assert model == replace(presets.get("gpt2-124m"), n_layers=2)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match="preset 'gpt-2': not known"):
        defaults.preset("gpt-2")
