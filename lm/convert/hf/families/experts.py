"""What families with experts spell alike: rows of an MLP and of all experts, and which layers have which."""

from __future__ import annotations

from typing import Any

from lm.convert.hf.codecs import Codec, linear, stacked
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, When
from lm.model.config import Layer, ModelConfig, pattern

# Keys that act in training alone.
TRAINING = ("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")


def is_dense(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether a layer has an MLP and no experts."""
    return layer is not None and not layer.n_experts


def routes(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says whether a layer has experts."""
    return layer is not None and layer.n_experts > 0


def gated(
    theirs: str,
    ours: str,
    how: Codec = linear,
    when: When = routes,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> tuple[Entry, ...]:
    """Returns the rows of a gated MLP, or of all experts', each `model.layers.{i}.` + `theirs` + one of `names`."""
    return tuple(
        Entry(f"model.layers.{{i}}.{theirs}{name}.weight", f"layers.{{i}}.{ours}{own}.kernel", how, when)
        for name, own in zip(names, ("gate", "up", "down"), strict=True)
    )


EXPERTS = (
    *gated("mlp.experts.{e}.", "moe.expert_", stacked(linear)),
    Entry("model.layers.{i}.mlp.gate.weight", "layers.{i}.moe.router.kernel", when=routes),
)
DENSE = gated("mlp.", "mlp.", when=is_dense)


def read_layers(settings: Settings, n_layers: int, n_experts: int) -> dict[str, Any]:
    """Reads Qwen's keys of the layers that have experts, and returns `n_experts` and `first_dense` of `Moe`."""
    step = settings.integer("decoder_sparse_step", 1, least=1)
    dense = settings.items("mlp_only_layers", range(n_layers), [])
    counts = [0 if i in dense or (i + 1) % step else n_experts for i in range(n_layers)]
    leading = next((i for i, count in enumerate(counts) if count), 0)
    if isinstance(pattern(counts), tuple) and isinstance(pattern(counts[leading:]), int):
        return {"n_experts": n_experts, "first_dense": leading}
    return {"n_experts": pattern(counts)}


def write_layers(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the keys that `read_layers` reads, and the number of experts."""
    counts = [layer.n_experts for layer in cfg.layers]
    return {
        "num_experts": max(counts),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [i for i, count in enumerate(counts) if not count],
    }
