"""Maximal update parametrisation (Yang et al., 2022): a learning rate found on a narrow model holds for a wide one.

In the form of its table 8, which lets tables be tied. Hidden matrices start with variance 1/fan-in and everything else
the same at any width, as they do here anyway. What is left is, with m the width over the base's: hidden matrices learn
m times slower under Adam, logits are divided by m, and scores by a head's width where that grows, not by its root. The
last two are ordinary keys of the architecture, so a model needs no µP to be run. Every width is meant to grow with
`d_model`: units, and either heads or their width.
"""

from __future__ import annotations

import math
from typing import Any

from lm.common.errors import UserError
from lm.model.config import ModelConfig

_DEFAULTS = ModelConfig.__dataclass_fields__


def width_ratio(model: Any) -> float:
    """Returns the width over that of the base, from a resolved `config.model`; 1 without µP."""
    return model.d_model / model.base_width if model.parametrization == "mup" else 1.0


def forward_keys(model: Any) -> dict[str, tuple[float, str]]:
    """Returns keys of the architecture that µP sets, with their source, from a `config.model` whose shape is known.

    Raises:
        UserError: no such parametrisation, a base that is missing or would change nothing, or an architecture that has
            a scale of its own where µP sets it.
    """
    if model.parametrization not in ("standard", "mup"):
        raise UserError(f"model.parametrization={model.parametrization}: choose one of standard, mup")
    if model.parametrization == "standard":
        for key in ("base_width", "base_head_width"):
            if model[key]:
                raise UserError(
                    f"model.{key}={model[key]}: would change nothing, as model.parametrization is standard; leave it "
                    "out, or set model.parametrization=mup"
                )
        return {}
    if model.base_width < 1:
        raise UserError(
            f"model.base_width={model.base_width}: model.parametrization=mup needs the d_model that the learning rate "
            "was found at"
        )
    keys = {"logit_scale": (1.0 / width_ratio(model), "base_width / width (Yang et al., 2022, table 8)")}
    if model.base_head_width:
        mixers = {model.mixer} if isinstance(model.mixer, str) else {*model.mixer}
        if model.base_head_width < 0:
            raise UserError(f"model.base_head_width={model.base_head_width}: must be positive, or 0 for none")
        if "latent" in mixers or not mixers & {"attention", "differential"}:
            raise UserError(
                f"model.base_head_width={model.base_head_width}: has no meaning for model.mixer={model.mixer}, which "
                "has no heads whose width alone grows; leave it out"
            )
        scale = math.sqrt(model.base_head_width) / model.head_width
        keys["attention_scale"] = (scale, "root of base_head_width / head_width (Yang et al., 2022)")
    for key, (value, _) in keys.items():
        if model[key] not in (_DEFAULTS[key].default, value):
            raise UserError(
                f"model.{key}={model[key]}: model.parametrization=mup sets it, to {value:.4g} at this width; "
                "leave it out"
            )
    return keys


def matrix_multiplier(ratio: float, *, orthogonal: bool) -> float:
    """Returns the factor on the learning rate of hidden matrices of a model `ratio` times as wide as its base.

    An Adam update has entries of one size that add up over the fan-in; an orthogonal one, as `Optimizer` scales it,
    lengthens its input by the root of the width.
    """
    return 1.0 / (math.sqrt(ratio) if orthogonal else ratio)
