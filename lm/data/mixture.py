"""What share of the training tokens each source of a mixture gets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lm.common.errors import UserError


def shares(
    tokens: Mapping[str, int],
    weights: Mapping[str, float],
    *,
    temperature: float = 1.0,
    max_epochs: float = 0.0,
    budget: int = 0,
) -> dict[str, float]:
    """Returns each source's share of the training tokens; the shares sum to 1.

    Where `weights` are given they are the shares, in any unit. Else shares are proportional to tokens^(1/temperature):
    by size at 1, ever more equal above (the sampling of multilingual models; Conneau et al., 2020). With `max_epochs`,
    no source is seen more often than that within `budget` tokens; what it cannot take goes to the others in
    proportion (Muennighoff et al., 2023, find up to four epochs nearly as good as new text).

    Raises:
        UserError: a temperature or cap out of range, weights that are all 0, a source without tokens, or a budget that
            all sources together cannot fill.
    """
    if not temperature > 0:
        raise UserError(f"data.temperature={temperature}: must be above 0; 1 mixes by size, more is more even")
    if max_epochs < 0:
        raise UserError(f"data.max_epochs={max_epochs}: must be 0 (no cap) or more")
    wanted = _normalised(weights) if weights else _by_size(tokens, temperature)
    if not max_epochs or not budget:
        return wanted
    caps = {name: max_epochs * tokens[name] / budget for name in wanted}
    if math.fsum(caps[name] for name in wanted if wanted[name] > 0) < 1:
        available = sum(tokens[name] for name in wanted if wanted[name] > 0)
        raise UserError(
            f"data.max_epochs={max_epochs:g}: {budget:,} training tokens are {budget / available:.2f} epochs of the "
            f"{available:,} there are; allow more epochs, add text or train shorter"
        )
    return _capped(wanted, caps)


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    whole = math.fsum(weights.values())
    if not (whole > 0 and math.isfinite(whole) and min(weights.values()) >= 0):
        given = ", ".join(f"{name}={weight:g}" for name, weight in weights.items())
        raise UserError(f"data.mixture: weights {given}: must be 0 or more, and not all 0")
    return {name: weight / whole for name, weight in weights.items()}


def _by_size(tokens: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Works with logarithms and against the largest, as powers of counts are soon beyond any float."""
    for name, count in tokens.items():
        if count < 1:
            raise UserError(f"data.mixture.{name}: has no tokens to train on; give it text or take it out")
    largest = max(tokens.values())
    return _normalised({name: math.exp(math.log(count / largest) / temperature) for name, count in tokens.items()})


def _capped(wanted: Mapping[str, float], caps: Mapping[str, float]) -> dict[str, float]:
    """Fills shares up to their caps, those of the sources that are not full staying in proportion."""
    full: dict[str, float] = {}
    while True:
        rest = {name: share for name, share in wanted.items() if name not in full}
        scale = (1 - math.fsum(full.values())) / (math.fsum(rest.values()) or 1.0)
        over = {name: caps[name] for name, share in rest.items() if share * scale > caps[name]}
        if not over:
            return {name: full[name] if name in full else wanted[name] * scale for name in wanted}
        full |= over
