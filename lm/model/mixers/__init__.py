"""Mixers by name: what moves information between a document's tokens.

A mixer is a module of `(cfg, layer)` that maps a `Stream` and a `Context` to `[B, T, D]`, with what it keeps of
earlier tokens where decoding; `empty` shapes that for a batch.
"""

from __future__ import annotations

from typing import Any

from lm.model.mixers.attention import Attention
from lm.model.mixers.differential import Differential
from lm.model.mixers.latent import Latent
from lm.model.mixers.linear import GatedLinear
from lm.model.mixers.rnn import GRU, LSTM
from lm.model.mixers.ssm import SelectiveSSM

MIXERS: dict[str, Any] = {
    "attention": Attention,
    "differential": Differential,
    "latent": Latent,
    "gru": GRU,
    "lstm": LSTM,
    "linear": GatedLinear,
    "ssm": SelectiveSSM,
}
