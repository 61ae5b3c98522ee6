"""Both spellings of RoPE mean what they mean to Hugging Face, and what means nothing there is refused."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import Gemma3TextConfig

from lm.common.errors import UserError
from lm.convert.hf import rope
from lm.convert.hf.families import gemma3
from lm.convert.hf.settings import Settings
from lm.model.config import Rope
from tests.convert.hf.conftest import specimen

LINEAR = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0}
LOCAL = {"rope_type": "default", "rope_theta": 100.0}


def of_gemma3(**keys: Any) -> Rope:
    settings = Settings({**specimen("gemma3"), **keys})
    found = gemma3.FAMILY.read_config(settings).rope
    settings.finish()
    return found


SAID: dict[str, dict[str, Any]] = {
    "by kind of layer": {"rope_parameters": {"full_attention": LINEAR, "sliding_attention": LOCAL}},
    "as it was": {
        "rope_parameters": None,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_theta": 1000.0,
        "rope_local_base_freq": 100.0,
    },
}


@pytest.mark.parametrize("how", SAID)
def test_gemma3_has_a_rotation_for_each_kind_of_layer(how: str) -> None:
    found = of_gemma3(**SAID[how])
    assert found == Rope(theta=(100.0,) * 5 + (1000.0,), factor=(1.0,) * 5 + (8.0,), scaling="linear")
    theirs = Gemma3TextConfig(**{key: value for key, value in SAID[how].items() if value is not None})
    for kind, wanted in (("full_attention", LINEAR), ("sliding_attention", LOCAL)):
        assert wanted.items() <= theirs.rope_parameters[kind].items()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rope_parameters": LINEAR}, "an object for each of sliding_attention, full_attention is expected"),
        ({"rope_parameters": LOCAL}, "an object for each of sliding_attention, full_attention is expected"),
        ({"rope_parameters": {"sliding_attention": LOCAL, **LINEAR}}, 'factor=8.0, rope_theta=1000.0, rope_type="lin'),
        ({"rope_parameters": {"sliding_attention": LOCAL}, "rope_scaling": LINEAR}, "take one of them out"),
        ({"rope_parameters": {"sliding_attention": LINEAR}}, "only full_attention may be stretched"),
        ({"rope_parameters": {"full_attention": LOCAL | {"partial_rotary_factor": 0.5}}}, "partial_rotary_factor=0.5"),
    ],
)
def test_a_rotation_of_gemma3_that_cannot_be_meant_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        of_gemma3(**keys)
    assert said in str(caught.value)


def test_hugging_face_passes_over_one_rotation_for_all_layers_of_gemma3() -> None:
    """Which is why it is refused: what the file says and what its own code computes differ."""
    theirs = Gemma3TextConfig(rope_parameters=dict(LINEAR)).rope_parameters
    assert theirs["full_attention"] == {"rope_type": "default", "rope_theta": 1e6}
    assert theirs["sliding_attention"] == {"rope_type": "default", "rope_theta": 1e4}


def test_two_spellings_at_once_are_refused() -> None:
    both = Settings({"rope_scaling": LINEAR, "rope_parameters": LOCAL})
    with pytest.raises(UserError, match=r"config.json: rope_scaling: rope_parameters is there too"):
        rope.read(both, 16)
