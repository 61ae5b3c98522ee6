"""How often a run reads its text, and a warning where that is too often."""

from __future__ import annotations

from collections.abc import Mapping

from lm.common.progress import quantity

MOST_EPOCHS = 20  # text read some 16 times over has little left to teach (Muennighoff et al., 2023)
ASSUMED_BYTES_PER_TOKEN = 3.0  # between the 2 of a vocabulary of 512 and the 4.4 of one of 32,768, on English


def estimate(
    sizes: Mapping[str, int], weights: Mapping[str, float] | None, tokens: float, bytes_per_token: float
) -> dict[str, float]:
    """Returns about how many epochs (to two digits) a run over so many tokens is of each source of a size in bytes.

    `weights` are the sources' shares of the tokens, in any unit; None is by size. A source of no known size (0) is
    left out, and so are all others where their shares would follow from it.
    """
    if weights is None and not all(sizes.values()):
        return {}
    shares = {name: float(size) for name, size in sizes.items()} if weights is None else weights
    whole = sum(shares.values())
    if not whole:
        return {}
    token_bytes = {name: shares[name] / whole * tokens * bytes_per_token for name in sizes}
    return {name: float(f"{token_bytes[name] / size:.2g}") for name, size in sizes.items() if size}


def warnings(epochs: Mapping[str, float], steps: int) -> list[str]:
    """Returns a line for each source that a run of so many steps reads more than `MOST_EPOCHS` times."""
    return [
        f"warning: {quantity(count)} epochs of {name}: the model will learn this text by heart; give more text, "
        f"or train for fewer steps (train.steps={max(1, round(steps * MOST_EPOCHS / count))} is {MOST_EPOCHS} epochs)"
        for name, count in epochs.items()
        if count > MOST_EPOCHS
    ]
