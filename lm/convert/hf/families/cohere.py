"""Command R (Cohere, 2024): both branches read one LayerNorm without bias; neighbours of a head are rotated."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import interleaved, linear
from lm.convert.hf.families import parts
from lm.convert.hf.families.llama import ATTENTION, ENDS, IGNORED, MLP, read_body, write_body
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import ModelConfig

EPSILON = "layer_norm_eps"
_TURNED = (".q.kernel", ".k.kernel", ".q.bias", ".k.bias")


def _turned(entry: Entry) -> Entry:
    """Returns the row with the numbers of queries and keys in our order."""
    how = interleaved(linear) if str(entry.ours).endswith(_TURNED) else entry.how
    return Entry(entry.theirs, entry.ours, how, entry.when)


ENTRIES = (
    *ENDS,
    Entry("model.layers.{i}.input_layernorm.weight", "layers.{i}.mixer_norm.scale"),
    *(_turned(entry) for entry in ATTENTION),
    *MLP,
)


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    settings.expect("use_qk_norm", False)
    return ModelConfig(
        **read_body(settings, epsilon=(EPSILON, 1e-5), theta=500_000.0, tied=True),
        **parts.read_biases(settings),
        norm="layer",
        residual="parallel_shared",
        logit_scale=settings.number("logit_scale", 0.0625),
    )


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_body(cfg, epsilon=EPSILON),
        **parts.write_biases(cfg),
        "logit_scale": cfg.logit_scale,
    }


FAMILY = Family(
    model_type="cohere",
    architecture="CohereForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
    ignored=IGNORED,
)
